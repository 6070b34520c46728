"""The parts of the model. Where PyTorch has a layer, it is that one; its decoder layer has no cache, so one is here."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad, scaled_dot_product_attention

from seamless_interaction import SAMPLING_RATE
from seamless_interaction.models.config import ImitatorConfig

_LOWEST, _HIGHEST = 60.0, 8000.0  # Hz, of the mel bands
_FLOOR = 1e-6  # of a band's energy: about what the 16-bit grid of the samples leaves


class LogMel(nn.Module):
    """Log-mel energies, one vector a frame, from samples up to the end of the frame's own interval and no later.

    The mel scale is 2595 log10(1 + f / 700): O'Shaughnessy, "Speech Communication", 1987.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: ImitatorConfig):
        super().__init__()
        self.step = config.samples_per_frame
        self.size = 1 << (self.step - 1).bit_length()
        low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (_LOWEST, _HIGHEST))
        edges = 700 * (10 ** (torch.linspace(low, high, config.mels + 2) / 2595) - 1)
        hertz = torch.arange(self.size // 2 + 1)[:, None] * (SAMPLING_RATE / self.size)
        rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
        self.register_buffer("filters", torch.minimum(rising, falling).clamp(min=0), persistent=False)
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """(..., T, samples per frame) to (..., T, mels), log10 of energy."""
        spans = pad(audio.flatten(-2), (self.size - self.step, 0)).unfold(-1, self.size, self.step)
        energy = torch.fft.rfft(spans * self.window).abs().square() / self.size
        return torch.log10(energy @ self.filters + _FLOOR)


class StreamEncoder(nn.Module):
    """One modality of one participant as tokens: what is missing is a learned token, and five frames back are seen."""

    def __init__(self, project: nn.Module, width: int, kernel: int = 5):
        super().__init__()
        self.project = project
        self.missing = nn.Parameter(torch.randn(width) * 0.02)
        self.conv = nn.Conv1d(width, width, kernel)
        self.norm = nn.LayerNorm(width)
        self.back = kernel - 1

    def forward(self, values: Tensor, is_there: Tensor) -> Tensor:
        """(B, P, T, F), or (B, P, T) of numbers, and (B, P, T) bool to (B, P, T, width)."""
        tokens = torch.where(is_there[..., None], self.project(values), self.missing)
        flat = tokens.flatten(0, 1)
        seen = self.conv(pad(flat.transpose(1, 2), (self.back, 0))).transpose(1, 2)
        mixed: Tensor = self.norm(flat + gelu(seen))
        return mixed.view_as(tokens)


def _gelu(values: Tensor) -> Tensor:
    """As a function of ours, so that PyTorch does not take its fast path, which takes biases for a mask of booleans."""
    return gelu(values)


def transformer(config: ImitatorConfig, layers: int) -> nn.TransformerEncoder:
    """PyTorch's own, normalised before each part."""
    layer = nn.TransformerEncoderLayer(
        config.width,
        config.heads,
        4 * config.width,
        config.dropout,
        activation=_gelu,
        batch_first=True,
        norm_first=True,
    )
    return nn.TransformerEncoder(layer, layers, nn.LayerNorm(config.width), enable_nested_tensor=False)


def slopes(heads: int) -> Tensor:
    """(heads,): by how much less each head sees what is a frame older. ALiBi's, see ``Attention``."""
    return 2.0 ** (-8 * torch.arange(1, heads + 1) / heads)


def by_age(frames: int, people: int, config: ImitatorConfig, device: torch.device) -> Tensor:
    """(heads, T P, T P), of tokens frame by frame: what is added for how long ago one was.

    -inf for later frames, and for those of longer ago than the context. Only differences of time are known.
    """
    frame = torch.arange(frames, device=device).repeat_interleave(people)
    age = frame[:, None] - frame
    bias = -slopes(config.heads).to(device)[:, None, None] * age
    return bias.masked_fill((age < 0) | (age >= config.context), float("-inf"))


class Attention(nn.Module):
    """Attention over the last ``context`` frames. How long ago a frame was is a learned number for each head.

    These numbers begin as the slopes of ALiBi (Press, Smith, Lewis, "Train Short, Test Long", ICLR 2022). As they know
    only differences of time, a sequence may be longer than any in training.
    """

    def __init__(self, config: ImitatorConfig):
        super().__init__()
        self.heads, self.context = config.heads, config.context
        self.query = nn.Linear(config.width, config.width)
        self.keys = nn.Linear(config.width, 2 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.by_age = nn.Parameter(-slopes(config.heads)[:, None] * torch.arange(config.context))

    def split(self, tokens: Tensor) -> Tensor:
        """(B, N, width) to (B, heads, N, width / heads)."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_of(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, (B, heads, N, width / heads) each."""
        keys, values = self.keys(tokens).chunk(2, -1)
        return self.split(keys), self.split(values)

    def look(self, tokens: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """Attend from tokens (B, N, width) to keys, with a bias that (B, heads, N, M) can be added to."""
        found = scaled_dot_product_attention(self.split(self.query(tokens)), keys, values, bias.to(tokens.dtype))
        seen: Tensor = self.out(found.transpose(1, 2).flatten(-2))
        return seen

    def bias(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(heads, rows, columns): of frame numbers; -inf for what is later or long ago."""
        age = rows[:, None] - columns
        known = self.by_age[:, age.clamp(0, self.context - 1)]
        return known.masked_fill((age < 0) | (age >= self.context), float("-inf"))


class Cache:
    """Keys and values of one layer's last ``context`` frames: a ring, so that no step is dearer than the last.

    Attributes:
        keys, values: (B, heads, context, width / heads); frame n lies at n modulo the context.
        memory: keys and values of all that is heard and seen, in frames, P tokens each.
        ages, memory_ages: the layer's numbers for each age, oldest first: a slice of them is a step's bias.
    """

    def __init__(self, layer: DecoderLayer, memory: Tensor, people: int):
        own, heard = layer.own, layer.heard
        self.context, self.people = own.context, people
        self.memory = heard.keys_of(memory)
        shape = (len(memory), own.heads, own.context, memory.shape[-1] // own.heads)
        self.keys, self.values = (memory.new_zeros(shape) for _ in range(2))
        oldest_first = own.by_age.flip(1)
        self.ages = torch.cat([oldest_first, oldest_first], 1)[:, None]
        self.memory_ages = heard.by_age.flip(1).repeat_interleave(people, 1)[:, None]


class DecoderLayer(nn.Module):
    """Own past motion, then what is heard and seen up to now, then a perceptron; normalised before each."""

    def __init__(self, config: ImitatorConfig):
        super().__init__()
        width = config.width
        self.own, self.heard = Attention(config), Attention(config)
        self.norm_own, self.norm_heard, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.mix = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor, memory: Tensor, frames: Tensor, memory_frames: Tensor) -> Tensor:
        """All frames at once.

        Args:
            tokens: (B, N, width), one a frame.
            memory: (B, M, width).
            frames, memory_frames: (N,) and (M,), their frame numbers.
        """
        normed = self.norm_own(tokens)
        tokens = tokens + self.own.look(normed, *self.own.keys_of(normed), self.own.bias(frames, frames))
        normed = self.norm_heard(tokens)
        tokens = tokens + self.heard.look(normed, *self.heard.keys_of(memory), self.heard.bias(frames, memory_frames))
        mixed: Tensor = tokens + self.mix(self.norm(tokens))
        return mixed

    def step(self, token: Tensor, cache: Cache, number: int, frame: int) -> Tensor:
        """The next frame only, (B, 1, width): the same as the last of ``forward``.

        Args:
            number: how many steps were before.
            frame: its frame number in the memory.
        """
        normed = self.norm_own(token)
        slot = number % cache.context
        key, value = self.own.keys_of(normed)
        cache.keys[:, :, slot], cache.values[:, :, slot] = key[:, :, 0], value[:, :, 0]
        size = min(number + 1, cache.context)
        newest = cache.context - 1 - slot
        bias = cache.ages[..., newest : newest + size]
        token = token + self.own.look(normed, cache.keys[:, :, :size], cache.values[:, :, :size], bias)
        first, last = max(0, frame + 1 - cache.context), frame + 1
        keys, values = (part[:, :, first * cache.people : last * cache.people] for part in cache.memory)
        bias = cache.memory_ages[..., (cache.context - (last - first)) * cache.people :]
        token = token + self.heard.look(self.norm_heard(token), keys, values, bias)
        mixed: Tensor = token + self.mix(self.norm(token))
        return mixed
