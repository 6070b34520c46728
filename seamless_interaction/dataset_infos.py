"""``python -m seamless_interaction.dataset_infos > dataset_infos.json``: what each config holds.

The file is what `datasets` and the Hub read without running the script. It is written in the
dialect that every supported version reads: 5.x would write ``List``, which 3.6 does not know. It
has no example counts, since nobody has counted, and `datasets` refuses data with another count.
"""

from __future__ import annotations

import json
from typing import Any

from seamless_interaction import CITATION, DESCRIPTION, HOMEPAGE, LICENSE, SeamlessInteraction, record_features
from seamless_interaction.record.dialect import dialect


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
