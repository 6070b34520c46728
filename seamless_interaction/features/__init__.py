"""Features of conversations, on one grid of time: how people speak, move, look, and take turns.

- ``table``: every feature, with its unit, definition and source; documentation follows from it.
- ``extract``: ``extract_features``, which reads a conversation block by block, and ``Features``, what it gives.
- ``prosody``, ``silero``: of the sound; ``motion``, ``face``: of arrays; ``dyadic``, ``synchrony``: of both partners.
- ``storing``: features of many conversations as Parquet files, resumable.

Imports ``conversations`` and what lies below it.

>>> features = extract_features(interaction, groups=["head", "dyadic"], fps=30)
>>> features["P0202"]["head:angular_velocity"].shape, features.masks["P0202"]["head:angular_velocity"].shape
((120, 3), (120,))
>>> features.events["dyadic:turns"].column_names
['participant_id', 'start', 'end']
"""

from seamless_interaction.features.extract import Features, extract_features
from seamless_interaction.features.storing import make_features, read_features
from seamless_interaction.features.table import FEATURES, GROUPS, Feature

__all__ = ["FEATURES", "GROUPS", "Feature", "Features", "extract_features", "make_features", "read_features"]
