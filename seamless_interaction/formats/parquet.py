"""Parquet files that may be damaged."""

from __future__ import annotations

import pyarrow as pa

DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)  # what Arrow raises of a Parquet file; the last of names
