"""What is selected: which recordings a subset has.

Membership depends on the file list and the constants here, never on what a place happens to hold.
"""

from __future__ import annotations

import hashlib
from typing import Any

from seamless_interaction import SUBSETS, FileId

# Mean bytes of a recording's files as they are stored, from the totals of an independent census of the 24.95 TB:
# V00 has 1.4 Mbit/s video and face motion, the other vendors 6.8 Mbit/s and none.
MEAN_BYTES = {"V00": 117_000_000, "V01": 232_000_000, "V02": 232_000_000, "V03": 232_000_000}


def select(rows: list[dict[str, Any]], subset: str, label: str | None = None) -> set[str]:
    """File ids of a subset: whole interactions, up to its size at mean bytes.

    The order is that of a hash of the interaction's id, so a subset is a sample of everything, the
    same for everyone, and contained in every larger one. ``10GB-improvised`` is the improvised part
    of ``10GB``.

    Args:
        rows: the whole file list (``file_id``, ``label``).
        subset: a key of ``SUBSETS``.
        label: keep this label only.
    """
    interactions: dict[str, list[str]] = {}
    labels = {}
    for row in rows:
        interactions.setdefault(FileId.parse(row["file_id"]).interaction_id, []).append(row["file_id"])
        labels[row["file_id"]] = row["label"]
    cap = SUBSETS[subset]
    chosen: set[str] = set()
    size = 0
    for interaction_id in sorted(interactions, key=lambda id: hashlib.sha256(id.encode()).digest()):
        size += sum(MEAN_BYTES[FileId.parse(file_id).vendor] for file_id in interactions[interaction_id])
        if cap is not None and size > cap:
            break
        chosen.update(interactions[interaction_id])
    return {file_id for file_id in chosen if label in (None, labels[file_id])}
