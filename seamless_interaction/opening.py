"""The one way in: a place, how recordings lie in it, what its tables name, and which of it are selected.

The builder, ``SeamlessDataset``, plans of downloads and plans of publications all go through here. A place is listed
once, and each of its tables is read once, when it is first needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction.errors import SourceNotFound, SourceUnreachable
from seamless_interaction.places.cache import recall, remember
from seamless_interaction.places.place import Place
from seamless_interaction.selection.selection import Selection, choose, tell_chosen
from seamless_interaction.selection.sizes import select
from seamless_interaction.source.addresses import default_source, filelist_of, is_default
from seamless_interaction.source.files import Source
from seamless_interaction.source.index import Index
from seamless_interaction.source.indexing import silent_index
from seamless_interaction.source.layout import FOUND, archive_paths
from seamless_interaction.source.listing import Listing, scan, unnamed
from seamless_interaction.source.recordings import (
    Gaps,
    recordings,
    rows_of,
    with_partners,
    without_what_is_not_meant,
)
from seamless_interaction.source.tables import FILELIST, read_filelist_file, read_selection, selected

logger = logging.getLogger("seamless_interaction")


@dataclass(frozen=True)
class Opened:
    """The selected recordings of a place, ready to be read.

    Attributes:
        source: where and how they lie.
        listing: what the place holds.
        filelist: ``tables.FILELIST`` of the whole place; ``is_made`` says that it has none, and it was made of what
            is there.
        held: the rows of it that the place is meant to hold.
        chosen: those of them that are selected.
        rows: those of them that are there, with the fields of ``recordings.Recording``, partners adjacent.
        gaps: what the file list and the place do not have in common.
        whole: tars that were not looked into, as they are wanted whole.
    """

    source: Source
    listing: Listing
    filelist: pa.Table
    is_made: bool
    held: pa.Table
    chosen: pa.Table
    rows: pa.Table
    gaps: Gaps
    whole: frozenset[str]

    def tell(self, selection: Selection) -> None:
        """Say once what is selected and not here, what is here and not selected, and by what it was selected."""
        place, name = self.source.place, selection.name
        if self.is_made:
            some, every = (select(self.held, size, selection.label) for size in (selection.size, "full"))
            if len(some) < len(every):
                logger.warning(
                    "%s has no filelist.csv, so %r is %d of the %d recordings in it. Put the dataset's file list "
                    "there, or load 'full'.",
                    *(place.url, name, len(some), len(every)),
                )
        for issue in self.source.index.archive_issues() if self.source.index else ():
            logger.warning("%s", issue)
        for names, what in (
            (self.gaps.not_here, f"of the {len(self.chosen)} recordings of {name!r} are not in it"),
            (
                self.gaps.strays,
                "recordings in it are not read: the file list does not name them, or names another place",
            ),
            (
                self.listing.ignored,
                "files or folders in it are not read: not in the file list, unknown by their names, or not extracted",
            ),
        ):
            if names:
                examples = f"{names[0]}, …" if len(names) > 1 else names[0]
                logger.warning("%s: %d %s (%s)", place.url, len(names), what, examples)
        self.tell_chosen(selection)

    def tell_chosen(self, selection: Selection) -> None:
        """Say in a line that fewer than all the recordings of the place are selected, and by what."""
        # A silent index of tars knows those of the selection alone.
        found = None if self.listing.layout.in_tars else self.listing.found
        tell_chosen(self.source.place, selection, self.chosen, self.held, found)


class Opening:
    """A place on its way to be read.

    Args:
        url: of the place; None is the public bucket, or what ``SEAMLESS_INTERACTION_SOURCE`` says.
        storage_options, layout, index: as ``load_dataset`` takes them.
        filelist: path or URL of a file list that counts instead of the place's own, or of the official one.
        strict: a bad row of the file list is an error, and not left out with a warning.

    Raises:
        SourceError: the index or the place cannot be read.
    """

    def __init__(
        self,
        url: str | os.PathLike[str] | Place | None = None,
        storage_options: dict[str, Any] | None = None,
        *,
        layout: str | None = None,
        index: str | os.PathLike[str] | None = None,
        filelist: str | os.PathLike[str] | None = None,
        strict: bool = False,
    ):
        self.place = url if isinstance(url, Place) else Place(url or default_source(), storage_options)
        self._layout, self._given, self._strict = layout, filelist, strict
        self.index = Index(os.fspath(index)) if index else None
        self._name = f"{self.place.url} {layout} {index}"

    @cached_property
    def listing(self) -> Listing:
        """What the place holds, by the index or by names. Raises ``SourceError``."""
        return self.index.listing(self.place, self._layout) if self.index else scan(self.place, self._layout)

    @cached_property
    def filelist(self) -> pa.Table | None:
        """The file list; None if the place has none. Raises ``SourceError``."""
        if self._given is not None:
            return read_filelist_file(self._given)
        return self.index.found if self.index else filelist_of(self.place, self._strict)

    @cached_property
    def meant(self) -> pa.Table | None:
        """What the place, as a partial copy, is meant to hold: its ``selection.csv``. Raises ``SourceError``."""
        return read_selection(self.place)

    def identity(self) -> str:
        """Changes when the place does. Of one that cannot be reached, it is what it was last time.

        Raises:
            SourceUnreachable: it never was reached.
        """
        try:
            identity = self.listing.identity
        except SourceUnreachable as error:  # what was prepared before can still be loaded
            return recall(self._name, error)
        if not self.place.is_local:
            remember(self._name, identity)
        return identity

    def in_force(self, selection: Selection) -> Selection:
        """The same, with the subset that None stands for here."""
        if selection.subset is not None:
            return selection
        is_partial = False
        if is_default(self.place):
            with suppress(SourceUnreachable):  # who reads it finds out, or has it from before
                is_partial = self.meant is not None
        return replace(selection, subset=selection.size if is_default(self.place) and not is_partial else "full")

    def join(
        self,
        selection: Selection,
        *,
        partners: bool = True,
        num_bytes: Callable[[Listing, pa.Table], pa.Array | None] | None = None,
        whole: Callable[[pa.Table, pa.Table], frozenset[str]] | None = None,
    ) -> Opened:
        """The recordings of the place that are selected, and in force.

        Args:
            selection: see ``in_force``.
            partners: whether it matters which of their partners are there: the tars of these are looked into, too.
            num_bytes: of each row of a file list, for ``max_bytes``, where the place tells; None expects it.
            whole: given the file list and what is chosen of it, the tars that need not be looked into.

        Raises:
            UsageError: nothing is selected.
            SourceError: the place, or one of its tables, cannot be read.
        """
        place, listing, index, filelist = self.place, self.listing, self.index, self.filelist
        if filelist is None and listing.layout.in_tars:
            index = index or silent_index(listing, None)
            listing = listing._replace(found=index.found)
        is_made = filelist is None
        filelist = rows_of(listing.found, place.url) if filelist is None else filelist
        held = selected(place, filelist, self.meant)
        chosen = choose(held, selection, num_bytes(listing, held) if num_bytes and index is None else None)
        tars: frozenset[str] = frozenset()
        if listing.layout.in_tars:
            tars = whole(filelist, chosen) if whole else tars
            if index is None:
                wanted = with_partners(filelist, chosen) if partners else chosen
                index = silent_index(listing, wanted.filter(pc.invert(_lies_in(wanted, tars))))
                listing = listing._replace(ignored=(*listing.ignored, *unnamed(listing, filelist)))
            listing = listing._replace(found=_found(index, chosen, tars))
        elif index is None and not place.can_be_listed:
            listing = listing._replace(found=listing.layout.assumed(filelist))
        rows, gaps = recordings(listing.found, filelist, chosen, listing.layout, self.meant)
        if self.meant is not None and (self.index or not place.can_be_listed):
            rows = without_what_is_not_meant(rows, listing.layout)
        source = Source(place, listing.layout, listing.aliases, index)
        filelist = filelist.select(FILELIST.names)  # an index, which is one, has more columns
        return Opened(source, listing, filelist, is_made, held, chosen, rows, gaps, tars)

    def joined(self, selection: Selection) -> Opened:
        """As ``join``, for who reads recordings: tells what is missing or not read.

        Raises:
            UsageError: nothing is selected.
            SourceNotFound: none of it is there.
            SourceError: the place, or one of its tables, cannot be read.
        """
        opened = self.join(selection)
        opened.tell(selection)
        if not len(opened.rows):
            raise SourceNotFound(
                f"{self.place.url} holds none of the {len(opened.chosen)} recordings of {selection.name!r}."
            )
        return opened


def _lies_in(table: pa.Table, archives: frozenset[str]) -> pa.Array:
    """Whether each recording lies in one of these tars."""
    return pc.is_in(archive_paths(table), pa.array(archives, pa.string()))


def _found(index: Index, chosen: pa.Table, whole: frozenset[str]) -> pa.Table:
    """What the tars hold: by the index, but of those that are fetched whole, which it need not know, everything."""
    if not whole:
        return index.found
    indexed = index.found.select([*FOUND.names, "row"])
    everything = index.layout.assumed(chosen.filter(_lies_in(chosen, whole)))
    everything = everything.append_column("row", pa.nulls(len(everything), pa.int64()))
    return pa.concat_tables([indexed.filter(pc.invert(_lies_in(indexed, whole))), everything])
