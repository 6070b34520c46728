"""Audio as FLAC, where that loses nothing.

The real WAVs hold 32-bit floats that lie on the 16-bit grid (seen on real files by others: a float times 32,768 is a
whole number). Such samples are FLAC's own, and cost a fifth to a third of the bytes.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO

import numpy as np

_BLOCK = 1 << 18  # samples at a time
_SCALE = np.float32(1 << 15)
_MAX_CHANNELS = 8  # of FLAC


def encode(wav: BinaryIO) -> bytes | None:
    """The samples of a WAV as FLAC, 16 bits each; None if that would change one of them, or it cannot be decoded.

    What was encoded is decoded again and compared, sample by sample. Of floats, -0.0 becomes 0.0. A WAV's other chunks
    are not kept.

    Args:
        wav: the open file, seekable.
    """
    import soundfile

    flac = io.BytesIO()
    try:
        with soundfile.SoundFile(wav) as source:
            if source.channels > _MAX_CHANNELS or not source.frames:
                return None
            options = {"format": "FLAC", "subtype": "PCM_16"}
            with soundfile.SoundFile(flac, "w", source.samplerate, source.channels, **options) as target:
                written = _copy(source, target)
        if written is None or _decoded(flac) != written:
            return None
    except soundfile.LibsndfileError:  # not its kind of WAV, or a rate that FLAC does not have
        return None
    return flac.getvalue()


def _copy(source: Any, target: Any) -> str | None:
    """Digest of the samples written; None if one of them is not on the grid."""
    digest = hashlib.sha256()
    dtype = np.float64 if source.subtype in ("DOUBLE", "PCM_32") else np.float32  # which hold its samples as they are
    floats = np.empty((_BLOCK, source.channels), dtype)
    while len(read := source.read(out=floats)):
        with np.errstate(invalid="ignore", over="ignore"):  # NaN, and what is out of range, come out different
            read *= _SCALE
            samples = read.astype(np.int16)
        if not np.array_equal(samples, read):
            return None
        target.write(samples)
        digest.update(samples)
    return digest.hexdigest()


def _decoded(flac: io.BytesIO) -> str:
    """Digest of the samples of a FLAC."""
    import soundfile

    digest = hashlib.sha256()
    flac.seek(0)
    with soundfile.SoundFile(flac) as source:
        samples = np.empty((_BLOCK, source.channels), np.int16)
        while len(read := source.read(out=samples, dtype="int16")):
            digest.update(np.ascontiguousarray(read).data)
    return digest.hexdigest()
