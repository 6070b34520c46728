"""A finished publication: its files, as the manifest has them, against the disk and against a repository."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seamless_interaction.errors import IncompletePublication
from seamless_interaction.formats.parquet import DAMAGED
from seamless_interaction.places.write import local_path
from seamless_interaction.publishing.names import CARD, MANIFEST


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


def groups(files: list[File], most_files: int, most_bytes: int) -> Iterator[list[File]]:
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
        sha256, blob = hashlib.sha256(), blob_hash(size)
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                sha256.update(piece)
                blob.update(piece)
    except OSError as error:
        raise IncompletePublication(f"{path}: cannot be read: {error.strerror}") from error
    return size, sha256.hexdigest(), blob.hexdigest()


def blob_hash(size: int, content: bytes = b"") -> Any:
    return hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False)
