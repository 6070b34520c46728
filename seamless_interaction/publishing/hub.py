"""A dataset repository of the Hugging Face Hub: looking at it, sending files, committing, with errors of ours."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from seamless_interaction.errors import (
    HeadMoved,
    HubRefused,
    IncompletePublication,
    NotLoggedIn,
    NoWriteAccess,
    SeamlessInteractionError,
    SourceUnreachable,
    UsageError,
)
from seamless_interaction.publishing.publication import File, Publication, Remote, groups

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    from seamless_interaction.work.progress import Progress

UPLOAD_FILES, UPLOAD_BYTES = 25, 1_000_000_000  # that are sent before progress is told of them
PAUSES = (1.0, 5.0, 20.0, 60.0)  # seconds, after each try of a request that gets no answer or 5xx
LONGEST_PAUSE = 3600.0  # seconds; the Hub counts commits by the hour

T = TypeVar("T")


class State(NamedTuple):
    """A repository at one commit."""

    head: str
    private: bool
    files: dict[str, Remote]


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
        for group in groups(files, UPLOAD_FILES, UPLOAD_BYTES):
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
                raise moved(self.url)
        raise lost or moved(self.url)

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
            return moved(self.url)
        if status in (408, 429) or status >= 500:
            return SourceUnreachable(f"{self.url}: the Hub keeps answering {status} ({says}). {_AGAIN}")
        return HubRefused(f"{self.url}: the Hub answers {status}: {says}")


# Hosts that answer with a page of HTML, and uploads that fail for reasons of their own (RuntimeError), among them.
_NO_ANSWER = (OSError, RuntimeError, json.JSONDecodeError)


_LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token with the right to write there."


_AGAIN = "Push again later to resume."


def moved(url: str) -> HeadMoved:
    return HeadMoved(
        f"{url}: somebody else has committed meanwhile. Files already pushed are kept. Look at what they did, and push"
        " again to resume."
    )


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
