"""Features as JSON that every supported version of `datasets` reads alike."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

_KEPT = {"dtype", "shape", "sampling_rate", "decode"}  # what differs from the default, or all versions write


def dialect(feature: Any) -> Any:
    """One feature, or a dict of them, as JSON that every supported version of `datasets` reads alike.

    Args:
        feature: a feature, as any version has it; of ``Features``, ``dict(features)``.

    Returns:
        Dicts with ``_type`` for values, arrays, media and lists of values (``Sequence``), ``[{…}]`` for lists of
        structs, dicts by name for structs.
    """
    if isinstance(feature, dict):
        return {name: dialect(member) for name, member in feature.items()}
    if isinstance(feature, list):
        return [dialect(feature[0])]
    kind = type(feature).__name__
    if kind in ("List", "Sequence"):
        member = dialect(feature.feature)
        return [member] if isinstance(feature.feature, dict) else {"feature": member, "_type": "Sequence"}
    values = {field.name: getattr(feature, field.name) for field in fields(feature) if field.name in _KEPT}
    return {**values, "_type": kind}
