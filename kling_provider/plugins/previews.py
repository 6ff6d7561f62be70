"""Which stored files may be looked at, and their bytes.

An XCom is what a task says, and a task may say anything: ``file:///etc/passwd``, another team's bucket. So a file is
read only below a folder that the deployment has named, and with the connection that is named there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kling_provider.transfers.containers import MediaType, by_first_bytes

#: So many bytes are read at once.
CHUNK_BYTES = 256 * 1024
_URI = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:(?P<conn_id>[^/@]*)@)?(?P<rest>.*)", re.DOTALL)


class NotShown(Exception):
    """The file is not to be looked at here; the reason is for the log, not for who asked."""


@dataclass(frozen=True, slots=True)
class Root:
    """A folder whose files may be looked at.

    :param scheme: ``file`` or one of object storage.
    :param conn_id: Airflow connection to read with; empty: none.
    :param parts: bucket and folders, or the folders of a path.
    """

    scheme: str
    conn_id: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that may be looked at.

    :param size: in bytes.
    :param media: what it is, by its first bytes.
    :param read: gives the bytes from one position up to another.
    """

    size: int
    media: MediaType
    read: Callable[[int, int], bytes]

    def chunks(self, start: int, end: int) -> Iterator[bytes]:
        """Give the bytes in pieces.

        :param start: of the first byte.
        :param end: of the byte behind the last one.
        """
        for position in range(start, end, CHUNK_BYTES):
            yield self.read(position, min(end, position + CHUNK_BYTES))


def read_roots(setting: str) -> tuple[Root, ...]:
    """Read ``[kling] preview_roots``.

    :param setting: folders as paths or URIs of object storage, separated by commas; a URI may name an Airflow
        connection (``s3://aws_default@bucket/videos``).
    :raises ValueError: if one of them is neither, or names the whole file system.
    """
    roots = []
    for given in filter(None, (item.strip() for item in setting.split(","))):
        scheme, conn_id, parts = _split(given)
        if not parts:
            raise ValueError(f"[kling] preview_roots={given!r} names no folder")
        roots.append(Root(scheme, conn_id, parts))
    return tuple(roots)


def open_stored(uri: str, roots: Sequence[Root]) -> StoredFile:
    """Open a file below one of the roots.

    :param uri: as a manifest or a rendered field has it.
    :param roots: from :func:`read_roots`.
    :raises NotShown: if it lies below none of them, does not exist, or is no video, picture or sound.
    """
    try:
        scheme, _, parts = _split(uri)
    except ValueError as error:
        raise NotShown(str(error))
    if scheme == "file":
        return _open_local(Path("/", *parts), [root for root in roots if root.scheme == "file"])
    for root in roots:
        if root.scheme == scheme and parts[: len(root.parts)] == root.parts and len(parts) > len(root.parts):
            return _open_object(root, parts)
    raise NotShown(f"{uri!r} lies below none of [kling] preview_roots")


def _split(uri: str) -> tuple[str, str, tuple[str, ...]]:
    """Scheme, connection and parts of a URI or of an absolute path; nothing that leads elsewhere is one."""
    given = f"file://{uri}" if uri.startswith("/") else uri
    match = _URI.fullmatch(given)
    if match is None or "::" in given or "\\" in given or not given.isprintable():  # `::` chains file systems
        raise ValueError(f"{uri!r} is neither an absolute path nor a URI of object storage")
    scheme, rest = match["scheme"], match["rest"]
    parts = tuple(rest.strip("/").split("/")) if rest.strip("/") else ()
    if any(part in ("", ".", "..") for part in parts) or (scheme == "file") != rest.startswith("/"):
        raise ValueError(f"{uri!r} is not written out")
    return scheme, match["conn_id"] or "", parts


def _open_local(path: Path, roots: Sequence[Root]) -> StoredFile:
    """The real path counts, so a link below a root leads nowhere else."""
    try:
        real = path.resolve(strict=True)
        if not any(real.is_relative_to(Path("/", *root.parts).resolve()) for root in roots):
            raise NotShown(f"{str(path)!r} lies below none of [kling] preview_roots")
        # not a link that was put there just now; and a pipe must not make us wait
        file = open(real, "rb", buffering=0, opener=_open_as_it_is)  # noqa: SIM115 - read while it is sent
        about = os.fstat(file.fileno())
    except OSError as error:
        raise NotShown(str(error))
    if not stat.S_ISREG(about.st_mode):
        raise NotShown(f"{str(path)!r} is no file")
    return _stored(about.st_size, lambda start, end: os.pread(file.fileno(), end - start, start))


def _open_as_it_is(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _open_object(root: Root, parts: tuple[str, ...]) -> StoredFile:
    """An object, with the connection of its root: one that an XCom names is nobody's right to use it."""
    from kling_provider.transfers.destinations import storage_path

    try:
        path = storage_path(f"{root.scheme}://{'/'.join(parts)}", root.conn_id or None)
        store, where = path.fs, path.path
        size = int(store.info(where)["size"])

        def read(start: int, end: int) -> bytes:
            return bytes(store.cat_file(where, start=start, end=end))

        return _stored(size, read)
    except NotShown:
        raise
    except Exception as error:  # no object, no right, no bucket: every store has its own classes
        raise NotShown(f"{type(error).__name__}: {error}")


def _stored(size: int, read: Callable[[int, int], bytes]) -> StoredFile:
    try:
        return StoredFile(size, by_first_bytes(read(0, min(size, 16))), read)
    except ValueError as error:
        raise NotShown(f"it {error}")
