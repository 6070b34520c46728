"""``SeamlessDataset``: the conversations of a place, by id, straight from the raw files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seamless_interaction import EVERY_MODALITY, resolve_modalities
from seamless_interaction.conversations.interaction import Interaction, ParticipantRecording, check_window, columns_of
from seamless_interaction.conversations.storage import CACHE_BYTES, Storage
from seamless_interaction.conversations.windows import Spec, Windows
from seamless_interaction.errors import EmptySelection, UnknownConversation, UsageError, known_keywords
from seamless_interaction.opening import Opening
from seamless_interaction.selection.selection import Criteria, Selection, choose
from seamless_interaction.source.ids import INTERACTION_LENGTH, SESSION_LENGTH
from seamless_interaction.source.layout import is_meant
from seamless_interaction.source.tables import FILELIST

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SeamlessDataset(Sequence[Interaction]):
    """Conversations by id, from raw files wherever and however they lie; nothing is prepared, all is read on use.

    A sequence of ``Interaction``: ``len``, ``dataset[0]``, iteration; a slice is a dataset again.

    Args:
        data_dir: the folder that holds ``improvised`` and ``naturalistic``, or its URL; None is the dataset's public
            bucket, or what the environment variable ``SEAMLESS_INTERACTION_SOURCE`` says.
        split: ``"train"``, ``"dev"`` (or ``"validation"``) or ``"test"``; None is all.
        subset: ``"10GB"``, ``"100GB"``, ``"1TB"`` or ``"full"``: of what the place holds, what is of the size. None is
            as for ``load_dataset``.
        layout, index, storage_options: as ``load_dataset`` takes them. With an index nothing is looked for: who has the
            whole dataset wants one.
        cache_bytes: what each process may keep of arrays that cannot be read in part (those in an NPZ), and of text.
        criteria: as ``seamless_interaction.selection.Selection`` takes them: ``vendor="V00"``, ``annotated="3P"``, ….

    Raises:
        UsageError: an unknown name or id, or nothing that is all of what was asked for.
        SourceError: ``data_dir`` does not hold the dataset, or cannot be reached.

    >>> dataset = SeamlessDataset("data", split="train")
    >>> dataset.get_interaction("V00_S0101_I00000081")["P0202"].smplh.body_pose.shape
    (120, 21, 3)
    """

    @known_keywords(more=(*Criteria.__annotations__, "modalities"))
    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        split: str | None = None,
        *,
        subset: str | None = None,
        layout: str | None = None,
        index: str | os.PathLike[str] | None = None,
        storage_options: dict[str, Any] | None = None,
        cache_bytes: int = CACHE_BYTES,
        **criteria: Unpack[Criteria],
    ):
        if "modalities" in criteria:
            raise UsageError("modalities: nothing is read before it is used. Give them to window() or windows().")
        selection = Selection(subset, split=split, **criteria)  # type: ignore[arg-type]  # which it makes those it has
        opening = Opening(data_dir, storage_options, layout=layout, index=index)
        opened = opening.joined(opening.in_force(selection))
        rows = opened.rows.sort_by("file_id").combine_chunks()
        self._hold(Storage(opened.source, rows, opened.listing.identity, cache_bytes), np.arange(len(rows)))

    def _hold(self, storage: Storage, numbers: np.ndarray) -> None:
        """Be the dataset of these recordings, which are in the order of their ids."""
        self._storage, self._numbers = storage, numbers
        self._table = storage.table.take(pa.array(numbers))
        ids = self._table["file_id"].combine_chunks()
        interactions = pc.utf8_slice_codeunits(ids, 0, INTERACTION_LENGTH)
        is_first = np.append(len(ids) > 0, np.asarray(pc.not_equal(interactions[1:], interactions[:-1])))
        self._starts = np.append(np.flatnonzero(is_first), len(ids))
        self._ids, self._interaction_ids = ids, interactions.take(pa.array(self._starts[:-1]))

    def _part(self, numbers: np.ndarray) -> SeamlessDataset:
        part = object.__new__(type(self))
        part._hold(self._storage, numbers)
        return part

    def __repr__(self) -> str:
        url = self._storage.described["url"]
        return f"<SeamlessDataset {url}: {len(self):,} interactions, {len(self._numbers):,} recordings>"

    # --- a sequence of conversations

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, which: int | str) -> Interaction: ...
    @overload
    def __getitem__(self, which: slice) -> SeamlessDataset: ...
    def __getitem__(self, which: int | str | slice) -> Interaction | SeamlessDataset:
        """The interaction at a place, or of an id; of a slice, a dataset."""
        if isinstance(which, slice):
            return self._of(range(*which.indices(len(self))))
        if isinstance(which, str):
            return self.get_interaction(which)
        place = int(which)
        if not -len(self) <= place < len(self):
            raise IndexError(f"interaction {place} of {len(self)}")
        place %= len(self)
        numbers = self._numbers[self._starts[place] : self._starts[place + 1]]
        return Interaction(self._storage, [int(number) for number in numbers])

    def __iter__(self) -> Iterator[Interaction]:
        return (self[place] for place in range(len(self)))

    def _of(self, places: Sequence[int]) -> SeamlessDataset:
        """The dataset of the interactions at these places, which keep the order of their ids."""
        chosen = [self._numbers[self._starts[place] : self._starts[place + 1]] for place in sorted(places)]
        return self._part(np.concatenate([np.empty(0, np.int64), *chosen]))

    @known_keywords(more=Criteria.__annotations__)
    def filter(
        self,
        function: Callable[[Interaction], bool] | None = None,
        *,
        split: str | None = None,
        **criteria: Unpack[Criteria],
    ) -> SeamlessDataset:
        """The conversations that a function wants, or that match criteria (as for ``SeamlessDataset``).

        Raises:
            UsageError: criteria that cannot be, or nothing is left.
        """
        dataset = self
        if criteria or split is not None:
            flag = {"has_imitator_movement": pc.starts_with(self._ids, "V00")}
            rows = [flag[f.name] if f.name in flag else self._table[f.name] for f in FILELIST]
            chosen = choose(pa.table(rows, schema=FILELIST), Selection("full", split=split, **criteria))  # type: ignore[arg-type]
            kept = pc.is_in(self._ids, chosen["file_id"].combine_chunks())
            dataset = self._part(self._numbers[np.asarray(kept)])
        if function is None:
            return dataset
        places = [place for place, interaction in enumerate(dataset) if function(interaction)]
        if not places:
            raise EmptySelection(f"no conversation is selected: of {len(dataset)}, the function wants none.")
        return dataset._of(places)

    # --- by id

    def get_interaction(self, id: str) -> Interaction:
        """The conversation of an interaction id (``V00_S0809_I00000582``). Raises ``UnknownConversation``."""
        place = pc.index(self._interaction_ids, id).as_py()
        if place < 0:
            raise self._unknown("interaction", id, self._interaction_ids)
        return self[place]

    def get_recording(self, file_id: str) -> ParticipantRecording:
        """The recording of a file id (``V00_S0809_I00000582_P0947``). Raises ``UnknownConversation``."""
        place = pc.index(self._ids, file_id).as_py()
        if place < 0:
            raise self._unknown("recording", file_id, self._ids)
        return ParticipantRecording(self._storage, int(self._numbers[place]))

    def get_session(self, id: str) -> list[Interaction]:
        """The conversations of a session id (``V00_S0809``), by id: their order in time is not known.

        Raises:
            UnknownConversation
        """
        sessions = pc.utf8_slice_codeunits(self._interaction_ids, 0, SESSION_LENGTH)
        places = np.flatnonzero(np.asarray(pc.equal(sessions, id)))
        if not len(places):
            raise self._unknown("session", id, sessions.unique())
        return [self[int(place)] for place in places]

    @staticmethod
    def _unknown(what: str, id: object, ids: pa.Array) -> UnknownConversation:
        """With the ids that share most of their beginning, not all 129,370."""
        near = pa.array([], pa.string())
        for length in range(len(str(id)) - 1, 2, -1):
            near = ids.filter(pc.starts_with(ids, str(id)[:length]))
            if len(near):
                break
        return UnknownConversation(what, id, near[:1000].to_pylist())

    # --- tables

    @property
    def recordings(self) -> pa.Table:
        """A row a recording: id, interaction_id, session_id, participant_id, vendor_id, prompt_id, partner_id, label,
        split, has_annotation_1p and has_annotation_3p (null where the file list does not say)."""
        ids = self._ids
        vendor = pc.utf8_slice_codeunits(ids, 0, 3)
        participant = pc.utf8_slice_codeunits(ids, INTERACTION_LENGTH + 1, len("V00_S0809_I00000582_P0947A"))
        return pa.table(
            {
                "id": ids,
                "interaction_id": pc.utf8_slice_codeunits(ids, 0, INTERACTION_LENGTH),
                "session_id": pc.utf8_slice_codeunits(ids, 0, SESSION_LENGTH),
                "participant_id": pc.binary_join_element_wise(vendor, participant, "_"),
                "vendor_id": vendor,
                "prompt_id": pc.utf8_slice_codeunits(ids, INTERACTION_LENGTH - 8, INTERACTION_LENGTH),
                "partner_id": self._table["partner"],
                **{n: self._table[n] for n in ("label", "split", "has_annotation_1p", "has_annotation_3p")},
            }
        )

    @property
    def interactions(self) -> pa.Table:
        """A row an interaction, in order: interaction_id, session_id, vendor_id, prompt_id, label, split, and the lists
        participant_ids and recording_ids."""
        names = ("interaction_id", "session_id", "vendor_id", "prompt_id", "label", "split")
        recordings = self.recordings
        first = recordings.select(names).take(pa.array(self._starts[:-1]))
        offsets = pa.array(self._starts, pa.int32())
        for name, column in (("participant_ids", "participant_id"), ("recording_ids", "id")):
            lists = pa.ListArray.from_arrays(offsets, recordings[column].combine_chunks())
            first = first.append_column(name, lists)
        return first

    @property
    def sessions(self) -> pa.Table:
        """A row a session: session_id, vendor_id, label, split, interactions and recordings (how many)."""
        return self._counted("session_id", ("vendor_id", "label", "split"))

    @property
    def participants(self) -> pa.Table:
        """A row a participant: participant_id, vendor_id, interactions and recordings (how many)."""
        return self._counted("participant_id", ("vendor_id",))

    def _counted(self, key: str, same: tuple[str, ...]) -> pa.Table:
        groups = self.recordings.group_by([key, *same], use_threads=False)
        counted = groups.aggregate([("interaction_id", "count_distinct"), ("id", "count")])
        names = {"interaction_id_count_distinct": "interactions", "id_count": "recordings"}
        counted = counted.select([key, *same, *names])
        return counted.rename_columns([names.get(name, name) for name in counted.column_names]).sort_by(key)

    # --- windows

    @known_keywords()
    def windows(
        self,
        duration: float,
        hop: float | None = None,
        modalities: list[str] | str | None = None,
        *,
        fps: float | None = 30.0,
        paired: bool = False,
        stereo: bool = False,
        where: str | None = None,
        shuffle: bool = False,
        seed: int = 0,
        ends: str = "drop",
        frame_size: tuple[int, int] | None = None,
        on_error: str = "mask",
    ) -> Windows:
        """Windows of all recordings, as a data set to train on: see ``Windows``.

        Args:
            duration, hop: seconds of a window, and from one's start to the next one's; None: the same, end to end.
            modalities: what a window holds, as ``load_dataset`` takes them; None is everything that the copy was made
                with. What only some of its recordings have is masked in the others' windows, with an issue.
            fps: the grid that arrays, video and voice activity are put on, times a second. None leaves each recording
                its own rate: then lengths differ, and batches are padded.
            paired: a sample is a window of both partners: its arrays have a leading axis of 2. Interactions of which
                one recording is not here are left out.
            stereo: the partner's sound as a second channel, (2, N), if the sample is of one recording.
            where: only windows of which this is true, such as ``"speech > 0.2 and smplh_valid > 0.9"``; see
                ``quantities`` for what can be compared. With ``paired``, true of both partners.
            shuffle, seed: in an order that follows from seed and epoch, else in that of ids and time.
            ends: ``"drop"`` has no window that goes beyond the end; ``"pad"`` has one, zero and masked where it does.
            frame_size: height and width that pictures are scaled to, and with them boxes and keypoints. Recordings have
                several rasters.
            on_error: what a file that cannot be used, or is not in a partial copy, makes of the windows that need it.
                ``"mask"``: they have zeros, a mask that is False, and a reason in ``issues``; ``"skip"``: they are left
                out, and counted; ``"raise"``: a ``WindowError``. A hundred broken ones in a row are one in any case.

        Raises:
            UsageError: an argument that cannot be, or a modality that the copy was made without.
        """
        hop = duration if hop is None else hop
        check_window(0.0, duration, fps, frame_size)
        check_window(0.0, hop, None, None)
        columns = self._columns(modalities)
        if stereo and (paired or "audio" not in columns):
            why = "paired windows have the sound of both" if paired else "no audio is asked for"
            raise UsageError(f"stereo=True makes the partner's sound a second channel, and {why}. Leave one out.")
        spec = Spec(
            duration=float(duration),
            hop=float(hop),
            columns=columns,
            fps=None if fps is None else float(fps),
            paired=bool(paired),
            stereo=bool(stereo),
            where=where,
            shuffle=bool(shuffle),
            seed=seed,
            ends=ends,
            frame_size=frame_size,
            on_error=on_error,
        )
        return Windows(self._storage, self._units(spec.paired), spec)

    def _columns(self, modalities: list[str] | str | None) -> tuple[str, ...]:
        """Those that windows are to hold. Raises ``UsageError`` for a modality that the copy was made without."""
        meant = reduce(or_, self._table["meant"].unique().to_pylist(), 0)

        def has(name: str) -> bool:
            return any(is_meant(column, meant) for column in resolve_modalities(name))

        for name in [modalities] if isinstance(modalities, str) else modalities or ():
            if len(self) and not has(name):
                raise UsageError(
                    f"{self._storage.described['url']} was made without {name}. Download it into the copy, or ask for "
                    f"{', '.join(filter(has, EVERY_MODALITY))}."
                )
        return columns_of(modalities, meant)

    def _units(self, paired: bool) -> np.ndarray:
        """(n, 1) recordings, or (n, 2) those of interactions that are whole; numbers in the storage."""
        if not paired:
            return self._numbers[:, None]
        starts = self._starts[:-1][np.diff(self._starts) == 2]
        return np.stack([self._numbers[starts], self._numbers[starts + 1]], 1)
