"""Formats: bytes to values, one file of one kind at a time: NPY, NPZ, JSON, tar, WAV, FLAC, MP4.

Takes bytes, however they are read, and gives headers, arrays and records, or a ``BadFile``. Knows nothing of where
files lie in the dataset. Imports ``places``.
"""
