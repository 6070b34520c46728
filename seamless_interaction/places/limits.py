"""How much is read of each kind of file, far beyond what real data have; and how slow a host may be.

Nothing that is larger, or says so, is read any further: not even a header is trusted to say how much comes.
"""

from __future__ import annotations

import os

from seamless_interaction.errors import UsageError

# The longest recording has 75 minutes and the fastest arrays 240 Hz; this is twice that. Anything longer is a lie
# of a header, and would not fit the 2**31 elements of an Arrow list either.
MAX_SECONDS = 2 * 75 * 60
MAX_FRAMES = MAX_SECONDS * 240

MAX_HEADER_BYTES = 1 << 14  # of an NPY; NumPy writes 128
MAX_DIRECTORY_BYTES = 1 << 20  # of an NPZ; that of all arrays takes 3 kB
MAX_TEXT_BYTES = 1 << 26  # of a recording's JSON; 75 minutes of transcript take about 2 MB
MAX_TABLE_BYTES = 1 << 27  # of a CSV, or what describes a publication; the whole file list takes about 10 MB
MAX_INDEX_BYTES = 1 << 31  # of an index; of the whole dataset, about 60 MB
MAX_WAV_BYTES = 1 << 33  # 8 GiB: MAX_SECONDS at 48 kHz in two channels of 32 bits take 3.5 GB
MAX_MP4_BYTES = 1 << 36  # 64 GiB: MAX_SECONDS at 60 Mbit/s
MAX_TAR_BYTES = 1 << 36  # real ones have 1.0 to 1.3 GB
MAX_MEMBERS = 1 << 16  # of a tar; real ones have 4,000 at most

SLOW_SECONDS = 60.0  # that a host is waited for, all pauses together, before its rate counts
_LEAST_RATE = 1000.0


def least_rate() -> float:
    """Bytes a second below which a host counts as silent; ``SEAMLESS_INTERACTION_LEAST_RATE``, if that is set.

    Raises:
        UsageError: that is no such number.
    """
    told = os.environ.get("SEAMLESS_INTERACTION_LEAST_RATE", "")
    try:
        rate = float(told or _LEAST_RATE)
        if 0 <= rate < float("inf"):
            return rate
    except ValueError:
        pass
    raise UsageError(f"SEAMLESS_INTERACTION_LEAST_RATE is {told!r}, and should be a number of bytes a second; 0: any.")
