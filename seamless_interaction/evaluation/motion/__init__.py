"""Motion that is made, beside motion that was recorded.

- ``clips``: what is shown, what is known, and what was then done; ``collection``: those of a run, read once.
- ``space``: an autoencoder, in whose space motion is compared.
- ``figures``: Fréchet distance, beats, diversity, velocity.
- ``makers``: guesses, a linear model, and ``ImitatorModel``.
- ``making``: measuring by a protocol.

All of it needs torch, and librosa to find beats.
"""

from __future__ import annotations


def need_packages() -> None:
    """Raise ``MissingDependency`` where torch, safetensors or librosa is not installed."""
    from seamless_interaction.features.blocks import needed
    from seamless_interaction.models import need_torch

    need_torch("Benchmarks of motion")
    needed("librosa")
