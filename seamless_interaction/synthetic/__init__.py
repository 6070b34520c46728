"""The synthetic corpus: invented recordings in the real format, which tests, demo and benchmarks read.

``corpus`` describes it without a disk; ``files``, ``media`` and ``filelist`` write it. Imports ``source`` and what lies
below it.
"""
