"""See that a destination can be written before a video is paid for."""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path

from airflow.providers.common.compat.sdk import ObjectStoragePath

from kling_provider.api.errors import shorten, show
from kling_provider.exceptions import KlingBadRequestError, KlingServerError

#: A destination that could be written is believed for so many seconds, in one process.
BELIEVED_SECONDS = 300.0
#: The protocols whose packages are extras of this one.
_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
}
_believed: dict[tuple[str, str | None], float] = {}


def storage_path(uri: str, conn_id: str | None) -> ObjectStoragePath:
    """The path at a URI. Airflow 3.0 takes a ``conn_id`` of None for one, and not what stands in the URI.

    :param uri: of object storage; may name a connection itself (``s3://conn@bucket/...``).
    :param conn_id: Airflow connection, or None.
    """
    return ObjectStoragePath(uri) if conn_id is None else ObjectStoragePath(uri, conn_id=conn_id)


def check_destination(destination: str, storage_conn_id: str | None = None) -> None:
    """Write a small file next to where results are to go, and remove it.

    Nothing is left behind, but where the right to delete is missing: then an empty ``.kling-check-*``.

    :param destination: folder as a URI of object storage or a path.
    :param storage_conn_id: Airflow connection of the destination, if it needs one.
    :raises KlingBadRequestError: if it cannot be written, with the way out.
    :raises KlingServerError: if the store does not answer now; a retry asks again.
    """
    key = (destination, storage_conn_id)
    if time.monotonic() - _believed.get(key, float("-inf")) < BELIEVED_SECONDS:
        return
    try:
        if destination.startswith("file://") or "://" not in destination:
            _check_folder(Path(destination.removeprefix("file://")).absolute())
        else:
            _check_store(destination, storage_conn_id)
    except Exception as error:
        why = f"{type(error).__name__}: {shorten(error, 300)}"
        if _may_pass(error):
            raise KlingServerError(
                f"Nothing was sent. Whether {show(destination, 120)} can be written could not be found out now "
                f"({why}). A retry asks again; check_destination=False leaves it out."
            )
        scheme = destination.partition("://")[0]
        hint = ""
        if isinstance(error, ImportError | ValueError) and scheme in _EXTRAS:
            hint = f" If its package is missing: pip install 'airflow-provider-kling[{_EXTRAS[scheme]}]'."
        raise KlingBadRequestError(
            f"Nothing was sent. The video could not be stored: destination={show(destination, 120)} cannot be "
            f"written ({why}).{hint} Correct the destination of the store task, its connection or its rights."
        )
    _believed[key] = time.monotonic()


def _check_folder(folder: Path) -> None:
    """Folders are made when a video is stored; the nearest one that is there must allow that."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{nearest} is a file")
    with tempfile.NamedTemporaryFile(prefix=".kling-check-", dir=nearest):
        pass


def _check_store(destination: str, storage_conn_id: str | None) -> None:
    name = f".kling-check-{secrets.token_hex(4)}"
    path = storage_path(f"{destination.rstrip('/')}/{name}", storage_conn_id)
    if path.protocol not in ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl"):  # those have no folders
        path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(b"")
    try:
        path.unlink()
    except Exception as error:  # the right to write is what is needed
        if not isinstance(error, OSError):
            raise


def _may_pass(error: Exception) -> bool:
    """Whether the same check may succeed later: a lost connection, not a refusal."""
    if isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError | FileExistsError):
        return False
    names = {kind.__name__ for kind in type(error).__mro__}
    passing = {
        "ConnectionError",
        "TimeoutError",
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
    }
    return bool(names & passing)
