"""Which stored files may be looked at, and their bytes.

An XCom is what a task says, and a task may say anything: ``file:///etc/passwd``, another team's bucket. So a file is
read only below a folder that the deployment has named, and with the connection that is named there.
"""

from __future__ import annotations

import os
import re
import stat
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kling_provider.transfers.containers import MediaType, by_first_bytes

#: So many bytes are read at once.
CHUNK_BYTES = 256 * 1024
#: After a refusal the connection of a root is read anew, but at most once in so many seconds.
RENEW_SECONDS = 60.0
_URI = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:(?P<conn_id>[^/@]*)@)?(?P<rest>.*)", re.DOTALL)
_renewed: dict[Root, float] = {}


class NotShown(Exception):
    """The file is not to be looked at here; the reason is for the log, not for who asked."""


class NotReadable(NotShown):
    """The file might be looked at, but its store refuses it or does not answer: somebody should know."""


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
    :raises NotReadable: if the disk or the store does not give it.
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
    has_controls = any(unicodedata.category(character).startswith("C") for character in given)
    if match is None or "::" in given or "\\" in given or has_controls:  # `::` chains file systems
        raise ValueError(f"{uri!r} is neither an absolute path nor a URI of object storage")
    scheme, rest = match["scheme"], match["rest"]
    parts = tuple(rest.strip("/").split("/")) if rest.strip("/") else ()
    if scheme == "file":
        parts = tuple(filter(None, parts))  # in a bucket, two slashes are another object than one
    if any(part in (".", "..") for part in parts) or (scheme == "file") != rest.startswith("/"):
        raise ValueError(f"{uri!r} is not written out")
    return scheme, match["conn_id"] or "", parts


def _open_local(path: Path, roots: Sequence[Root]) -> StoredFile:
    """The real path counts, so a link below a root leads nowhere else."""
    try:
        real = path.resolve(strict=True)
        _check_is_below(real, roots)
        # not a link that was put there just now; and a pipe must not make us wait
        file = open(real, "rb", buffering=0, opener=_open_as_it_is)  # noqa: SIM115 - read while it is sent
        opened = Path(f"/proc/self/fd/{file.fileno()}")  # of Linux alone
        if opened.is_symlink():
            _check_is_below(opened.readlink(), roots)  # nor behind a folder that has become a link just now
        about = os.fstat(file.fileno())
    except FileNotFoundError as error:
        raise NotShown(str(error))
    except OSError as error:
        raise NotReadable(str(error))
    if not stat.S_ISREG(about.st_mode):
        raise NotShown(f"{str(path)!r} is no file")
    return _stored(about.st_size, lambda start, end: os.pread(file.fileno(), end - start, start))


def _check_is_below(real: Path, roots: Sequence[Root]) -> None:
    if not any(real.is_relative_to(Path("/", *root.parts).resolve()) for root in roots):
        raise NotShown(f"{str(real)!r} lies below none of [kling] preview_roots")


def _open_as_it_is(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _open_object(root: Root, parts: tuple[str, ...]) -> StoredFile:
    """An object, with the connection of its root: one that an XCom names is nobody's right to use it."""
    from kling_provider.transfers.destinations import storage_path

    def opened() -> StoredFile:
        path = storage_path(f"{root.scheme}://{'/'.join(parts)}", root.conn_id or None)
        return _stored_object(path.fs, path.path)  # before Airflow 3.2, a path keeps the store it has seen

    try:
        try:
            return opened()
        except PermissionError:
            if not _forget_keys(root):
                raise
            return opened()
    except NotShown:
        raise
    except FileNotFoundError as error:
        raise NotShown(str(error))
    except Exception as error:  # no right, no answer, no package: every store has its own classes
        raise NotReadable(f"{type(error).__name__}: {error}")


def _forget_keys(root: Root) -> bool:
    """Airflow keeps a store with the keys it was made with as long as the process lives; make it read them anew.

    :returns: whether it will; not if it has done so just now.
    """
    from airflow.sdk.io import attach

    if time.monotonic() - _renewed.get(root, float("-inf")) < RENEW_SECONDS:
        return False
    _renewed[root] = time.monotonic()
    vars(attach(root.scheme, root.conn_id or None)).pop("fs", None)
    return True


def _stored_object(store: Any, where: str) -> StoredFile:
    def read(start: int, end: int) -> bytes:
        return bytes(store.cat_file(where, start=start, end=end))

    return _stored(int(store.info(where)["size"]), read)


def _stored(size: int, read: Callable[[int, int], bytes]) -> StoredFile:
    try:
        return StoredFile(size, by_first_bytes(read(0, min(size, 16))), read)
    except ValueError as error:
        raise NotShown(f"it {error}")
