"""Selection: which recordings, and which parts of them, for everything that takes a part of the dataset.

Takes a file list and gives those of its rows that are wanted. Imports ``source`` and what lies below it.
"""

from seamless_interaction.selection.selection import Selection

__all__ = ["Selection"]
