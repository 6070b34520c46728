"""A finished publication to the Hugging Face Hub: what is not there yet, in commits of bounded size, the card last.

A push that was stopped goes on where it was, file by file: what the Hub has with the right hash is not sent again.
Until the last commit the repository cannot be loaded: its card is a stub, whose one config has no files. (Without a
card, or without configs in it, `datasets` 3.6 to 5 load whatever Parquet there is as ``default``; measured.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from seamless_interaction.errors import (
    ForeignFiles,
    HubRefused,
    InvalidRepository,
    WrongVisibility,
    known_keywords,
)
from seamless_interaction.publishing.hub import Repository, State, moved
from seamless_interaction.publishing.names import CARD, MANIFEST, RECORDINGS
from seamless_interaction.publishing.publication import File, Publication, Remote, blob_hash, groups
from seamless_interaction.work.text import decimal

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

    from seamless_interaction.work.progress import Progress

MAX_FILES, MAX_BYTES = 100, 10_000_000_000  # of one commit
OWNED = ("data/", "video/")  # where only the publication's files belong
_TABLE = f"data/{RECORDINGS}/"  # of recordings, which grows with the data
STUB = b"""\
---
viewer: false
configs:
- config_name: being-uploaded
  data_files: being-uploaded/*.parquet
---

This dataset is being uploaded. It cannot be loaded until all of it is here.
"""
_SHOWN = 5  # paths that an error names
_RESERVED = "seamless_interaction"


@dataclass(frozen=True)
class PushReport:
    """What a push did, or what it would do.

    Attributes:
        url: of the repository.
        created: whether it was created.
        commits: made.
        files_sent, bytes_sent: of the publication, the card and the manifest among them.
        files_there: that the Hub had already.
        deleted: files deleted there.
        commit: the head of ``main``; None if there is no repository.
        dry_run: whether nothing of this was done.
    """

    url: str
    created: bool
    commits: int
    files_sent: int
    bytes_sent: int
    files_there: int
    deleted: int
    commit: str | None
    dry_run: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """For reading."""
        would = "would be " if self.dry_run else ""
        sent = f"{self.files_sent:,} files ({decimal(self.bytes_sent)}) {would}sent in {self.commits:,} commits"
        lines = [f"{self.url}: {sent}; {self.files_there:,} were there"]
        if self.created:
            lines.append(f"the repository {would or 'was '}created")
        if self.deleted:
            lines.append(f"{self.deleted:,} files {would}deleted")
        if self.commit and not self.dry_run:
            lines.append(f"main is at {self.commit}")
        return "\n".join(lines)


@dataclass(frozen=True)
class PushPlan:
    """What is to be done to a repository.

    Attributes:
        groups: files to send, a commit each.
        closing: files that the last commit brings, with the deletions: card and manifest, and what they replace beside
            the data.
        deletions: paths; of an older table of recordings, or foreign.
        stub: whether the first commit puts the stub in the card's place.
        there: files that need not be sent.
    """

    groups: list[list[File]]
    closing: list[File]
    deletions: list[str]
    stub: bool
    there: int

    @property
    def data(self) -> list[File]:
        """Files to send before the last commit."""
        return [file for group in self.groups for file in group]

    @property
    def sent(self) -> list[File]:
        """All files to send."""
        return self.data + self.closing

    @property
    def foreign(self) -> list[str]:
        """Files that are no publication's of this kind: nobody deletes them unasked."""
        return [path for path in self.deletions if not path.startswith(_TABLE)]

    @property
    def commits(self) -> int:
        """How many there will be."""
        return len(self.groups) + bool(self.closing or self.deletions)


def make_plan(publication: Publication, remote: dict[str, Remote]) -> PushPlan:
    """What a repository lacks of a publication, and what it has too much.

    Nobody is to load a mixture. So if data are replaced or deleted, or no whole publication is there, the first commit
    takes the card away. If data only come in addition, the old card stays until the end, and so do the tables and
    descriptions that grow with the data.

    Args:
        publication: what is to be there.
        remote: what is there, by path.
    """
    files = sorted(publication.files.values())
    missing = [file for file in files if not publication.is_same(file, remote.get(file.path))]
    closing = [file for file in missing if _is_late(file.path, remote)]
    data = [file for file in missing if file not in closing]
    deletions = sorted(path for path in remote if path.startswith(OWNED) and path not in publication.files)
    replacing = any(file.path in remote for file in data) or any(not path.startswith(_TABLE) for path in deletions)
    loadable = CARD in remote and MANIFEST in remote
    stub = bool(data) and (replacing or not loadable) and not _is_stub(remote.get(CARD))
    if stub and publication.files[CARD] not in closing:
        closing.append(publication.files[CARD])
    there = len(publication.files) - len(data) - len(closing)
    return PushPlan(list(groups(data, MAX_FILES, MAX_BYTES)), closing, deletions, stub, there)


def _is_late(path: str, remote: dict[str, Remote]) -> bool:
    """Whether a file comes in the last commit."""
    beside = not path.startswith(OWNED) or path.startswith(_TABLE)
    return path in (CARD, MANIFEST) or (beside and path in remote)


def _is_stub(remote: Remote | None) -> bool:
    """Whether a card is the stub."""
    return remote is not None and remote.blob == blob_hash(len(STUB), STUB).hexdigest()


@known_keywords()
def push(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    replace: bool = False,
    dry_run: bool = False,
    token: str | None = None,
    progress: Progress | None = None,
) -> PushReport:
    """Bring a dataset repository of the Hub to what a publication is.

    Args:
        folder: a finished publication: ``manifest.parquet`` lists its files. What it does not list is not sent.
        repo_id: ``owner/name``. The repository is created if it does not exist.
        private: create it as a private one. An existing one must be private then.
        replace: delete what lies below ``data/`` and ``video/`` and is not of this publication.
        dry_run: only say what would be done.
        token: of the Hub; else the one in ``HF_TOKEN``, or that of ``hf auth login``.
        progress: told how it goes.

    Raises:
        InvalidRepository: a name that cannot be, or one that `datasets` could not load.
        IncompletePublication: the folder is not what its manifest says.
        NotLoggedIn: there is no token, or the Hub does not know it.
        NoWriteAccess: the token may not write there.
        WrongVisibility: the repository is public, and ``private`` was asked for.
        ForeignFiles: it has files that are not of this publication, and ``replace`` was not given.
        HeadMoved: somebody else has committed meanwhile.
        HubRefused: the Hub says no for another reason.
        SourceUnreachable: the Hub cannot be reached, or keeps failing.
    """
    check_name(repo_id)
    publication = Publication(folder)
    repository = Repository(repo_id, token, anonymous=dry_run)
    state = repository.look()
    created = state is None
    if state is None and not dry_run:
        state = repository.create(private)
    if state and private and not state.private:
        raise WrongVisibility(
            f"{repository.url}: is public, and was asked to be private. Nothing was uploaded. Make it private in its"
            " settings, or push without `private`."
        )
    plan = make_plan(publication, state.files if state else {})
    if plan.foreign and not replace:
        raise ForeignFiles(
            f"{repository.url}: has {len(plan.foreign):,} files below {' and '.join(OWNED)} that are not of this"
            f" publication: {_some(plan.foreign)}. Nothing was uploaded. Push with `replace` to have them deleted, or"
            " into another repository."
        )
    if not dry_run and state:
        with _quiet(progress):
            state = _carry_out(plan, publication, repository, state, progress)
    return PushReport(
        url=repository.url,
        created=created,
        commits=plan.commits,
        files_sent=len(plan.sent),
        bytes_sent=sum(file.size for file in plan.sent),
        files_there=plan.there,
        deleted=len(plan.deletions),
        commit=state.head if state else None,
        dry_run=dry_run,
    )


def check_name(repo_id: str) -> None:
    """Raise ``InvalidRepository`` unless it is ``owner/name``, and a name under which datasets can be loaded."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InvalidRepository(f"not a repository of the Hub: {repo_id!r}: {error}") from error
    if "/" not in repo_id:
        raise InvalidRepository(f"not a repository of the Hub: {repo_id!r}. One looks like owner/name.")
    if repo_id.endswith(_RESERVED):
        raise InvalidRepository(
            f"{repo_id!r}: its name must not end in {_RESERVED!r}: `datasets` looks for <name>.py, and then runs it"
            " (3.x) or refuses the repository (4 and later). Name it otherwise, for example with hyphens."
        )


def _carry_out(
    plan: PushPlan, publication: Publication, repository: Repository, state: State, progress: Progress | None
) -> State:
    """Make the commits; the state after them."""
    head, left = state.head, plan.data
    if progress:
        progress.begin(len(plan.sent), sum(file.size for file in plan.sent))
    for number, group in enumerate(plan.groups, 1):
        additions = repository.upload(publication, group, progress)
        if plan.stub and number == 1:
            additions.append(_stub())
        left = left[len(group) :]
        arrived = partial(_has_arrived, publication, plan, left)
        head = repository.commit(head, additions, [], f"Upload data ({number} of {len(plan.groups)})", arrived)
    if plan.groups:
        _check_whole(publication, repository, head)
    if plan.closing or plan.deletions:
        additions = repository.upload(publication, plan.closing, progress)
        arrived = partial(_is_complete, publication)
        head = repository.commit(head, additions, plan.deletions, "Card and manifest", arrived)
    return state._replace(head=head)


def _has_arrived(publication: Publication, plan: PushPlan, left: list[File], now: State) -> bool:
    """Whether a commit before the last one was made, and nobody else's: just these files are left to send."""
    rest = make_plan(publication, now.files)
    stubbed = _is_stub(now.files.get(CARD)) or not plan.stub
    return rest.data == left and rest.deletions == plan.deletions and stubbed


def _is_complete(publication: Publication, now: State) -> bool:
    """Whether the last commit was made, and nobody else's."""
    rest = make_plan(publication, now.files)
    return not rest.sent and not rest.deletions


def _check_whole(publication: Publication, repository: Repository, head: str) -> None:
    """Before the card comes: whether all that was committed is there. What `.gitignore` names is left out silently."""
    now = repository.look()
    if now is None or now.head != head:
        raise moved(repository.url)
    rest = [file.path for file in make_plan(publication, now.files).data]
    if rest:
        raise HubRefused(
            f"{repository.url}: {len(rest):,} files were committed and are not there: {_some(rest)}. Does the"
            " repository have a .gitignore that names them? Delete it, and push again."
        )


def _stub() -> CommitOperationAdd:
    from huggingface_hub import CommitOperationAdd

    return CommitOperationAdd(CARD, STUB)


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")


@contextmanager
def _quiet(progress: Progress | None) -> Iterator[None]:
    """Meanwhile no bars of `huggingface_hub`, where ours is."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if progress is None or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
