"""A finished publication to the Hugging Face Hub: what is not there yet, in commits of bounded size, the card last.

A push that was stopped goes on where it was, file by file: what the Hub has with the right hash is not sent again.
Until the last commit the repository cannot be loaded: its card is a stub, whose one config has no files. (Without a
card, or without configs in it, `datasets` 3.6 to 5 load whatever Parquet there is as ``default``; measured.)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from seamless_interaction.errors import (
    ForeignFiles,
    HeadMoved,
    HubRefused,
    IncompletePublication,
    InvalidRepository,
    NotLoggedIn,
    NoWriteAccess,
    SeamlessInteractionError,
    SourceUnreachable,
    UsageError,
    WrongVisibility,
    known_keywords,
)
from seamless_interaction.formats.parquet import DAMAGED
from seamless_interaction.places.write import local_path
from seamless_interaction.work.text import decimal

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    from seamless_interaction.work.progress import Progress

MAX_FILES, MAX_BYTES = 100, 10_000_000_000  # of one commit
UPLOAD_FILES, UPLOAD_BYTES = 25, 1_000_000_000  # that are sent before progress is told of them
PAUSES = (1.0, 5.0, 20.0, 60.0)  # seconds, after each try of a request that gets no answer or 5xx
LONGEST_PAUSE = 3600.0  # seconds; the Hub counts commits by the hour
CARD, MANIFEST = "README.md", "manifest.parquet"
OWNED = ("data/", "video/")  # where only the publication's files belong
RECORDINGS = "data/recordings/"  # the table of them, which grows with the data
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

T = TypeVar("T")


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


class File(NamedTuple):
    """A file of the publication, as its manifest has it."""

    path: str
    size: int
    sha256: str


class Remote(NamedTuple):
    """A file of the repository. ``sha256`` is None unless it is kept as a large file; ``blob`` is Git's hash."""

    size: int
    sha256: str | None
    blob: str


class State(NamedTuple):
    """A repository at one commit."""

    head: str
    private: bool
    files: dict[str, Remote]


class Publication:
    """A folder and what its manifest says of it.

    Args:
        folder: a finished publication.

    Raises:
        IncompletePublication: there is no manifest, or a file is not there or has another size.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = local_path(folder)
        self.files = {file.path: file for file in self._listed()}
        if CARD not in self.files:
            raise IncompletePublication(f"{self.folder / MANIFEST}: does not list {CARD}. Publish into it again.")
        for file in self.files.values():
            self.check_size(file)
        size, sha256, blob = _hashes(self.folder / MANIFEST)
        self.files[MANIFEST] = File(MANIFEST, size, sha256)
        self._blobs = {MANIFEST: blob}  # by path, of those that were read

    def _listed(self) -> list[File]:
        import pyarrow.parquet as pq

        path = self.folder / MANIFEST
        try:
            with pq.ParquetFile(path) as manifest:
                table = manifest.read(columns=["file", "bytes", "sha256"])
            files = [File(row["file"], row["bytes"], row["sha256"]) for row in table.to_pylist()]
        except FileNotFoundError:
            raise IncompletePublication(f"{path}: is not there. Is this a finished publication?") from None
        except (*DAMAGED, KeyError) as error:
            raise IncompletePublication(
                f"{path}: is not a manifest ({error}). Publish into this folder again."
            ) from error
        names = [file.path for file in files]
        for name in names:
            if (
                any(part in ("", ".", "..", ".git", ".cache") or "\\" in part for part in name.split("/"))
                or name == MANIFEST
            ):
                raise IncompletePublication(f"{path}: not the path of a file of a publication: {name!r}")
        if len(set(names)) < len(names):
            twice = next(name for at, name in enumerate(names) if name in names[:at])
            raise IncompletePublication(f"{path}: lists {twice!r} twice. Publish into this folder again.")
        return files

    def local(self, file: File) -> Path:
        """Where a file lies."""
        return self.folder.joinpath(*file.path.split("/"))

    def check_size(self, file: File) -> None:
        """Raise ``IncompletePublication`` unless the file is there with the size of the manifest."""
        path = self.local(file)
        if not path.is_file():
            raise IncompletePublication(f"{path}: is in {MANIFEST}, and not there. Publish into this folder again.")
        size = path.stat().st_size
        if size != file.size:
            raise IncompletePublication(
                f"{path}: has {size:,} bytes, and {file.size:,} by {MANIFEST}. Publish into this folder again."
            )

    def check_hash(self, file: File, sha256: str) -> None:
        """Raise ``IncompletePublication`` unless the SHA-256 is that of the manifest."""
        if sha256 != file.sha256:
            raise IncompletePublication(
                f"{self.local(file)}: its SHA-256 is {sha256}, and {file.sha256} by {MANIFEST}: it has changed since."
                " It was not committed. Publish into this folder again."
            )

    def is_same(self, file: File, remote: Remote | None) -> bool:
        """Whether the repository has this very file. Reads it only if Git keeps it there: a small one."""
        if remote is None or remote.size != file.size:
            return False
        if remote.sha256 is not None:
            return remote.sha256 == file.sha256
        if file.path not in self._blobs:
            _, sha256, blob = _hashes(self.local(file))
            self.check_hash(file, sha256)
            self._blobs[file.path] = blob
        return remote.blob == self._blobs[file.path]


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
        return [path for path in self.deletions if not path.startswith(RECORDINGS)]

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
    replacing = any(file.path in remote for file in data) or any(not path.startswith(RECORDINGS) for path in deletions)
    loadable = CARD in remote and MANIFEST in remote
    stub = bool(data) and (replacing or not loadable) and not _is_stub(remote.get(CARD))
    if stub and publication.files[CARD] not in closing:
        closing.append(publication.files[CARD])
    there = len(publication.files) - len(data) - len(closing)
    return PushPlan(list(_groups(data, MAX_FILES, MAX_BYTES)), closing, deletions, stub, there)


def _is_late(path: str, remote: dict[str, Remote]) -> bool:
    """Whether a file comes in the last commit."""
    beside = not path.startswith(OWNED) or path.startswith(RECORDINGS)
    return path in (CARD, MANIFEST) or (beside and path in remote)


def _is_stub(remote: Remote | None) -> bool:
    """Whether a card is the stub."""
    return remote is not None and remote.blob == _blob_hash(len(STUB), STUB).hexdigest()


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
        raise _moved(repository.url)
    rest = [file.path for file in make_plan(publication, now.files).data]
    if rest:
        raise HubRefused(
            f"{repository.url}: {len(rest):,} files were committed and are not there: {_some(rest)}. Does the"
            " repository have a .gitignore that names them? Delete it, and push again."
        )


class Repository:
    """A dataset repository of the Hub, whose errors are ours.

    Args:
        repo_id: ``owner/name``.
        token: of the Hub, or None for the one at its usual places.
        anonymous: whether to go on without a token, or with one that may not write.

    Raises:
        NotLoggedIn: there is no token, or the Hub does not know it.
        NoWriteAccess: the token is for reading.
        SourceUnreachable: the Hub cannot be reached.
    """

    def __init__(self, repo_id: str, token: str | None, anonymous: bool = False):
        from huggingface_hub import HfApi, get_token

        known = token or get_token()
        self.repo_id, self.api = repo_id, HfApi(token=known or False)
        self.url = f"{self.api.endpoint}/datasets/{repo_id}"
        if known:
            self._check_token(token, anonymous)
        elif not anonymous:
            raise NotLoggedIn(f"{self.url}: pushing takes a token of the Hub. {_LOG_IN}")

    def _check_token(self, given: str | None, anonymous: bool) -> None:
        who = self._patiently(self.api.whoami, given)
        role = who.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read" and not anonymous:
            raise NoWriteAccess(f"{self.url}: the token of {who['name']} may read only. {_LOG_IN}")

    def look(self) -> State | None:
        """The repository as it is now; None if there is none that the token may see."""
        return self._patiently(self._look)

    def _look(self) -> State | None:
        from huggingface_hub.errors import RepositoryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        try:
            info = self.api.dataset_info(self.repo_id)
        except RepositoryNotFoundError as error:
            if type(error) is not RepositoryNotFoundError:  # one that is gated is there
                raise
            return None
        head = info.sha or ""
        entries = self.api.list_repo_tree(self.repo_id, recursive=True, revision=head, repo_type="dataset")
        files = {
            entry.path: Remote(entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)
            for entry in entries
            if isinstance(entry, RepoFile)
        }
        return State(head, bool(info.private), files)

    def create(self, private: bool) -> State:
        """Create the repository. One that came into being meanwhile does as well."""
        self._patiently(
            partial(self.api.create_repo, self.repo_id, repo_type="dataset", private=private, exist_ok=True)
        )
        state = self.look()
        if state is None:
            raise NoWriteAccess(f"{self.url}: was created, and cannot be seen with this token. {_LOG_IN}")
        return state

    def upload(
        self, publication: Publication, files: list[File], progress: Progress | None
    ) -> list[CommitOperationAdd]:
        """Send the content of files; what is kept in Git comes with the commit. Each is held against the manifest.

        Hashes are the client's own, made as it sends: nothing is read twice.
        """
        additions = []
        for group in _groups(files, UPLOAD_FILES, UPLOAD_BYTES):
            made = self._patiently(partial(self._send, publication, group))
            for file, addition in zip(group, made, strict=True):
                publication.check_hash(file, addition.upload_info.sha256.hex())
                if progress:
                    progress.came(file.size)
                    progress.done(file.size)
            additions += made
        return additions

    def _send(self, publication: Publication, files: list[File]) -> list[CommitOperationAdd]:
        from huggingface_hub import CommitOperationAdd

        for file in files:
            publication.check_size(file)
        made = [CommitOperationAdd(file.path, str(publication.local(file))) for file in files]
        self.api.preupload_lfs_files(self.repo_id, made, repo_type="dataset", free_memory=False)
        return made

    def commit(
        self,
        parent: str,
        additions: list[CommitOperationAdd],
        deletions: list[str],
        message: str,
        arrived: Callable[[State], bool],
    ) -> str:
        """Commit, and see to it that an answer which was lost does no harm.

        Args:
            parent: the head that this commit is made for.
            additions: files, whose content was sent.
            deletions: paths.
            message: of the commit.
            arrived: whether a state is the one after this commit.

        Returns:
            The new head.
        """
        from huggingface_hub import CommitOperationDelete

        operations: list[CommitOperationAdd | CommitOperationDelete] = [*additions]
        operations += [CommitOperationDelete(path, is_folder=False) for path in deletions]
        lost: SeamlessInteractionError | None = None
        for pause in PAUSES:
            try:
                return self.api.create_commit(
                    self.repo_id, operations, commit_message=message, repo_type="dataset", parent_commit=parent
                ).oid
            except _client_errors() as error:
                told = self._told(error)
                if not (isinstance(told, SourceUnreachable) or (lost and isinstance(told, HeadMoved))):
                    raise told from error
                lost = told
                sleep(max(pause, _asked_pause(error)))
            now = self.look()
            if now is None or now.head != parent:
                if now and arrived(now):
                    return now.head
                raise _moved(self.url)
        raise lost or _moved(self.url)

    def _patiently(self, call: Callable[[], T], given: str | None = None) -> T:
        """What a request gives that may be made more than once."""
        pauses = iter(PAUSES)
        while True:
            try:
                return call()
            except _client_errors() as error:
                told, pause = self._told(error, given), next(pauses, None)
                if pause is None or not isinstance(told, SourceUnreachable):
                    raise told from error
                sleep(max(pause, _asked_pause(error)))

    def _told(self, error: Exception, given: str | None = None) -> SeamlessInteractionError:
        """What an error of the client means."""
        from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

        if isinstance(error, SeamlessInteractionError):
            return error
        causes = _causes(error)
        for cause in causes:
            if isinstance(cause, LocalTokenNotFoundError):
                return NotLoggedIn(f"{self.url}: pushing takes a token of the Hub. {_LOG_IN}")
            if isinstance(cause, OfflineModeIsEnabled):
                return UsageError(f"{self.url}: HF_HUB_OFFLINE is set, and a push goes to the Hub. Unset it.")
            if isinstance(cause, OSError) and cause.filename:
                return IncompletePublication(f"{cause.filename}: cannot be read: {cause.strerror}")
        says = ": ".join(dict.fromkeys(_first_line(cause) for cause in (causes[0], causes[-1])))
        if _status(causes[-1]):
            return self._refusal(_status(causes[-1]), says, given)
        if any(isinstance(cause, _NO_ANSWER + _connection_errors()) for cause in causes):
            return SourceUnreachable(
                f"{self.url}: the Hub cannot be reached, or does not do its part ({says}). {_AGAIN}"
            )
        return HubRefused(f"{self.url}: {says}")

    def _refusal(self, status: int, says: str, given: str | None) -> SeamlessInteractionError:
        """What a status of HTTP means."""
        if status == 401:
            which = "that was given" if given else "in HF_TOKEN" if os.environ.get("HF_TOKEN") else "saved here"
            return NotLoggedIn(f"{self.url}: the Hub does not accept the token {which} ({says}). {_LOG_IN}")
        if status in (403, 404):
            return NoWriteAccess(
                f"{self.url}: there is no such repository, or the token has no right to write there ({says}). {_LOG_IN}"
            )
        if status == 412:
            return _moved(self.url)
        if status in (408, 429) or status >= 500:
            return SourceUnreachable(f"{self.url}: the Hub keeps answering {status} ({says}). {_AGAIN}")
        return HubRefused(f"{self.url}: the Hub answers {status}: {says}")


# Hosts that answer with a page of HTML, and uploads that fail for reasons of their own (RuntimeError), among them.
_NO_ANSWER = (OSError, RuntimeError, json.JSONDecodeError)
_LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token with the right to write there."
_AGAIN = "Push again later: it goes on where it was."


def _moved(url: str) -> HeadMoved:
    return HeadMoved(
        f"{url}: somebody else has committed meanwhile. What was pushed so far stays. Look at what they did, and push"
        " again: it goes on where it was."
    )


def _stub() -> CommitOperationAdd:
    from huggingface_hub import CommitOperationAdd

    return CommitOperationAdd(CARD, STUB)


def _client_errors() -> tuple[type[Exception], ...]:
    """All that `huggingface_hub` raises: of its own, of whichever HTTP client it has, of threads that upload."""
    return (OSError, RuntimeError, ValueError, *_connection_errors())


def _connection_errors() -> tuple[type[Exception], ...]:
    """The base of its HTTP client's errors: not an OSError since 1.0, when that is no longer `requests`."""
    from huggingface_hub import errors

    return (errors.HTTPError,)  # type: ignore[attr-defined]


def _causes(error: BaseException) -> list[BaseException]:
    """An error and what it came of: `huggingface_hub` wraps what goes wrong with one file."""
    found = [error]
    while found[-1].__cause__ is not None and not _status(found[-1]):
        found.append(found[-1].__cause__)
    return found


def _status(error: BaseException) -> int:
    """The status of HTTP that an error is about; 0 for none."""
    return getattr(getattr(error, "response", None), "status_code", 0)


def _first_line(error: BaseException) -> str:
    """What an error says, without the advice."""
    return getattr(error, "server_message", None) or next(iter(str(error).strip().splitlines()), type(error).__name__)


def _asked_pause(error: BaseException) -> float:
    """Seconds that the Hub asks for."""
    last = _causes(error)[-1]
    asked = last.response.headers.get("Retry-After", "") if _status(last) else ""  # type: ignore[attr-defined]
    return min(float(asked), LONGEST_PAUSE) if asked.isdigit() else 0.0


def _groups(files: list[File], most_files: int, most_bytes: int) -> Iterator[list[File]]:
    """Files in order, so many together. One above the limit of bytes goes alone."""
    group: list[File] = []
    for file in files:
        if group and (len(group) == most_files or sum(other.size for other in group) + file.size > most_bytes):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _hashes(path: Path) -> tuple[int, str, str]:
    """Size, SHA-256, and the hash that Git names the file by."""
    try:
        size = path.stat().st_size
        sha256, blob = hashlib.sha256(), _blob_hash(size)
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                sha256.update(piece)
                blob.update(piece)
    except OSError as error:
        raise IncompletePublication(f"{path}: cannot be read: {error.strerror}") from error
    return size, sha256.hexdigest(), blob.hexdigest()


def _blob_hash(size: int, content: bytes = b"") -> Any:
    return hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False)


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
