"""Records: all that belongs to a recording, joined, as Arrow tables, as NumPy and as lines of JSON.

Takes a recording's ``Files`` and gives typed values, and an issue for whatever is missing or broken. Imports ``source``
and what lies below it.
"""
