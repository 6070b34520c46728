"""Where the data are if nobody says, and which recordings a source is to have."""

from __future__ import annotations

import logging
import os

import pyarrow as pa

from seamless_interaction.errors import AmbiguousSource, SourceUnreachable
from seamless_interaction.places.options import redacted
from seamless_interaction.places.place import Place
from seamless_interaction.source.tables import read_filelist, read_filelist_file, read_raw

logger = logging.getLogger("seamless_interaction")

# The public bucket: one object a part of a recording. Nothing in it can be listed.
BUCKET = "https://dl.fbaipublicfiles.com/seamless_interaction"
# The same recordings as tars.
HUB = "hf://datasets/facebook/seamless-interaction"
# The file list, as its makers published it with their own code.
FILELIST = (
    "https://raw.githubusercontent.com/facebookresearch/seamless_interaction/"
    "acc817cc16f339311207af3abceb1397c3f1b71d/assets/filelist.csv"
)


def default_source() -> str:
    """The public bucket, or what the environment variable ``SEAMLESS_INTERACTION_SOURCE`` says."""
    return os.environ.get("SEAMLESS_INTERACTION_SOURCE") or BUCKET


def is_default(place: Place) -> bool:
    """Whether a place is where the dataset was published, or stands for it: nobody wants all of it unasked."""
    source = default_source()
    return place.url in (BUCKET, HUB) or (source != BUCKET and place.url == Place(source).url)


def address_of(source: str) -> str:
    """``"bucket"`` and ``"hub"`` stand for where the dataset was published; anything else for itself.

    Raises:
        AmbiguousSource: a folder of that name is here, too.
    """
    address = {"bucket": default_source(), "hub": HUB}.get(source, source)
    if address != source and os.path.isdir(source):
        raise AmbiguousSource(
            f"{source!r} stands for {redacted(address)}, and a folder here has that name. Give ./{source}, or the "
            "address."
        )
    return address


def filelist_address() -> str:
    """Where the official file list is, or what the environment variable ``SEAMLESS_INTERACTION_FILELIST`` says."""
    return os.environ.get("SEAMLESS_INTERACTION_FILELIST") or FILELIST


def official_filelist(strict: bool = False) -> pa.Table:
    """The file list of the dataset, from ``filelist_address``; ``strict`` as of ``tables.read_filelist``.

    Raises:
        BrokenTable, SourceError
    """
    return read_filelist_file(filelist_address(), strict=strict)


def filelist_of(place: Place, strict: bool = False) -> pa.Table | None:
    """The place's own file list; of the bucket, the Hub and their mirrors, where it has none, the official one."""
    found = read_filelist(place, strict=strict)
    return official_filelist(strict) if found is None and place.is_shared else found


def read_table(place: Place, name: str) -> bytes | None:
    """A table of the source; of the Hub, which has none, that of the bucket."""
    content = read_raw(place, name)
    if content is not None or not place.is_hub:
        return content
    try:
        return read_raw(Place(default_source()), name)
    except SourceUnreachable as error:
        logger.warning("%s The copy has no %s for now.", error, name)
        return None
