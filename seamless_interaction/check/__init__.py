"""Checking a source: everything that we take for true of the real data, and whether a source agrees.

``run`` looks at a source with ``look``, and holds what it saw against ``facts``, which ``judges`` judge. Imports
``source`` and what lies below it.
"""
