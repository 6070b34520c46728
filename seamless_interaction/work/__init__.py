"""Work: what any long task needs: pools of processes, progress for people, text, JSON that is read as it was written.

Knows nothing of the dataset. Imports ``errors``.
"""
