"""``python -m seamless_interaction.dataset_infos > dataset_infos.json``: what each config holds.

The file is what `datasets` and the Hub read without running the script. It is written in the
dialect that every supported version reads: 5.x would write ``List``, which 3.6 does not know. It
has no example counts, since nobody has counted, and `datasets` refuses data with another count.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from seamless_interaction import CITATION, DESCRIPTION, HOMEPAGE, LICENSE, SeamlessInteraction, record_features

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


def dataset_infos() -> dict[str, Any]:
    """Config name -> its info, as in dataset_infos.json."""
    return {
        config.name: {
            "description": f"{DESCRIPTION} {config.description}",
            "citation": CITATION,
            "homepage": HOMEPAGE,
            "license": LICENSE,
            "features": dialect(dict(record_features())),
            "builder_name": "seamless_interaction",
            "dataset_name": "seamless_interaction",
            "config_name": config.name,
            "version": {"version_str": str(config.version)},
        }
        for config in SeamlessInteraction.BUILDER_CONFIGS
    }


if __name__ == "__main__":
    print(json.dumps(dataset_infos(), indent=2))
