"""Places: folders anywhere fsspec reads, local or remote, and what is kept of them on this machine.

Takes addresses and gives bytes, or named errors that say whose fault it is. Knows nothing of the dataset. Imports
``errors`` and ``work``.
"""
