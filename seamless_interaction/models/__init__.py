"""ImitatorModel: a joint representation of a conversation, and motion generated from it.

- ``config``: sizes, and what a model's files say of it.
- ``rotations``: rotation vectors, matrices and their six numbers; distances between rotations.
- ``streams``: samples, windows and batches of ``SeamlessDataset`` as tensors on one frame grid.
- ``layers``: encoders of one modality, causal attention with and without a cache.
- ``imitator``: the model: encode, generate, save, load.
- ``objectives``: what it is trained for; ``baselines``: what it is compared with; ``training``: the loop.

This is not the Imitator that made the ``movement:*`` arrays, which is not public. ``ImitatorModel`` says what is taken
from where. All of it needs torch, which is imported with ``ImitatorModel`` and not before.

Imports ``conversations`` and what lies below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seamless_interaction.models.config import PRESETS, ImitatorConfig

if TYPE_CHECKING:
    from seamless_interaction.models.imitator import ImitatorModel

__all__ = ["PRESETS", "ImitatorConfig", "ImitatorModel"]


def __getattr__(name: str) -> Any:
    if name != "ImitatorModel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    need_torch("ImitatorModel")
    from seamless_interaction.models.imitator import ImitatorModel

    return ImitatorModel


def need_torch(what: str) -> None:
    """Raise ``MissingDependency`` where torch or safetensors is not installed."""
    from importlib.util import find_spec

    from seamless_interaction.errors import MissingDependency

    for package in ("torch", "safetensors"):
        if find_spec(package) is None:
            raise MissingDependency(what, package, "torch")
