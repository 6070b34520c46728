"""Sources: where the recordings of a place lie, in whatever layout, and the parts of each.

Takes a ``Place`` and gives tables of what it holds, its file list, its index, and each recording's ``Files``. Imports
``formats``, ``places`` and ``work``.
"""
