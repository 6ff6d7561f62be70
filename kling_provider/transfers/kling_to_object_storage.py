"""KlingToObjectStorageOperator: from Kling's storage, which forgets, to yours."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar
from urllib.parse import quote

from airflow.providers.common.compat.sdk import (
    AirflowException,
    Asset,
    AssetAlias,
    BaseOperator,
    ObjectStoragePath,
)

from kling_provider.api.endpoints import endpoint_for
from kling_provider.api.errors import shorten, show
from kling_provider.api.identity import is_derived
from kling_provider.api.messages import read_json
from kling_provider.api.tasks import FAILED, KlingFile, KlingTask
from kling_provider.exceptions import (
    KlingBadRequestError,
    KlingServerError,
    KlingStorageError,
    KlingTaskFailedError,
    KlingTaskNotFoundError,
    KlingUnreadableResponseError,
)
from kling_provider.links.kling import KlingConsoleLink, KlingVideoLink, is_web_address
from kling_provider.operators.guards import WaitsForUpstream
from kling_provider.transfers.containers import MediaType, NotMedia, by_first_bytes, recognise
from kling_provider.transfers.destinations import storage_path
from kling_provider.transfers.naming import fields_of, is_named, may_differ
from kling_provider.transfers.upstream import model_upstream
from kling_provider.waiting import HandsOn, TaskRef

#: What a result may hold at most, in bytes (4 GiB).
MAX_BYTES = 4 * 1024**3
#: Stores that show an upload only when it is whole; elsewhere it is made under another name, then renamed.
ATOMIC_PROTOCOLS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl"})
#: A part of another machine, whose lock cannot be seen, is left behind if nobody wrote to it for so many seconds.
ABANDONED_AFTER_SECONDS = 86400.0
#: The host says that there is no file. Its other refusals (400, 401, 403) may be those of a filter on the way.
GONE = frozenset({404, 410})
_FILE_NAME = re.compile(r"[^A-Za-z0-9_.=-]+")
_PART_PREFIX = ".kling-"
_HOST = _FILE_NAME.sub("_", socket.gethostname())[:64]


class KlingToObjectStorageOperator(WaitsForUpstream, HandsOn, BaseOperator):
    """Store every file of a finished task, verified, and return a manifest.

    The manifest is ``[{uri, bytes, sha256, media_type, duration, task_id, media_id}]``; the first ``uri`` is pushed
    by itself too, so that a next step can take it (``image=store.output["uri"]``). A file that is stored
    already is not fetched again, so a retry is free and works after Kling has deleted the original (30 days;
    some gateways keep it for a day only). A reader never sees half a file. Each stored file emits an event
    of its own Asset, through ``asset_alias``, with what is known of it as the event's ``extra``: ``task_id``,
    ``endpoint``, ``external_task_id``, ``model_name``, ``units``, ``media_id``, ``media_type``, ``bytes``, ``sha256``,
    ``duration``.

    :param task: the sensor's result, the submit's ``kling_task``, or a task id (templated).
    :param destination: folder as a URI of object storage or a path, for example
        ``s3://bucket/{{ ds }}/`` (templated).
    :param endpoint: endpoint of the task, where its id is given alone (templated).
    :param filename: name of each file; may hold ``{task_id}`` (of an answer without one, Kling's request_id),
        ``{media_id}`` (Kling's id of the file; pictures have none, theirs is ``image-0``), ``{index}`` and
        ``{extension}`` (templated). A name that no other task has is found again by a retry. Another one,
        ``latest.mp4``, is replaced by each run, and refused where mapped tasks would replace each other's.
    :param kling_conn_id: Airflow connection of type ``kling`` (templated).
    :param storage_conn_id: Airflow connection of the destination, if it needs one (templated).
    :param max_bytes: what one file may hold at most.
    :param asset_alias: name of the AssetAlias that carries the events, or None for no events.
    :raises KlingTaskFailedError: if Kling has failed the task.
    :raises KlingBadRequestError: if Kling has deleted the files, or a name is not the file's own.
    :raises KlingServerError: if the files cannot be fetched now; a retry can.
    :raises KlingStorageError: if the destination or this machine's disk does not take them; nothing half is left.
    """

    template_fields: Sequence[str] = (
        "task",
        "destination",
        "endpoint",
        "filename",
        "kling_conn_id",
        "storage_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"task": "json"}
    operator_extra_links = (KlingVideoLink(), KlingConsoleLink())
    ui_color = "#ceead6"
    comes_from_upstream = "task"

    def __init__(
        self,
        *,
        task: Any,
        destination: str,
        endpoint: str = "image2video",
        filename: str = "{task_id}-{media_id}.{extension}",
        kling_conn_id: str = "kling_default",
        storage_conn_id: str | None = None,
        max_bytes: int = MAX_BYTES,
        asset_alias: str | None = "kling_results",
        **kwargs: Any,
    ):
        if asset_alias:
            kwargs["outlets"] = [*(kwargs.get("outlets") or []), AssetAlias(asset_alias)]
        super().__init__(**kwargs)
        self.task = task
        self.destination = destination
        self.endpoint = endpoint
        self.filename = filename
        self.kling_conn_id = kling_conn_id
        self.storage_conn_id = storage_conn_id
        self.max_bytes = max_bytes
        self.asset_alias = asset_alias
        #: What the link in the UI shows: the stored copy where a browser can open it, else Kling's.
        self.finished_video_url: str | None = None
        self._stored_task: KlingTask | None = None
        self._manifest: list[dict[str, Any]] = []
        self._model_name: str | None = None

    @cached_property
    def hook(self) -> Any:
        """The hook of ``kling_conn_id``."""
        from kling_provider.hooks.kling import KlingHook

        return KlingHook(self.kling_conn_id)

    def execute(self, context: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Store all files and return the manifest.

        :param context: Airflow's context.
        """
        self.wait_for_upstream(context)
        given = read_json(self.task)
        task = self._finished_task(given)
        items = task.files
        if not items:
            raise KlingBadRequestError(
                f"Task {task.name} of {task.endpoint} (status {task.status}) has no files to store. Wait for "
                "it with KlingTaskSensor first.",
                endpoint=task.endpoint,
                task_id=task.task_id,
            )
        names = {str(self._path(task, index, item, "")) for index, item in enumerate(items)}
        if len(names) < len(items):
            raise KlingBadRequestError(
                f"filename={show(self.filename, 80)} gives several of the {len(items)} files of task {task.name} "
                "the same name. Put {index} or {media_id} into it.",
                endpoint=task.endpoint,
                task_id=task.task_id,
            )
        self._refuse_a_name_of_siblings(context, task, items)
        manifest = [self._store(task, index, item) for index, item in enumerate(items)]
        self._stored_task, self._manifest = task, manifest
        stored = str(manifest[0]["uri"])
        self.finished_video_url = stored if is_web_address(stored) else items[0].url
        self._model_name = model_upstream(context, task.task_id, given)
        self._emit(context, task, manifest)
        if (ti := context.get("ti")) is not None:
            ti.xcom_push(key="uri", value=manifest[0]["uri"])
        return manifest

    def _finished_task(self, value: object) -> KlingTask:
        if isinstance(value, Mapping) and "videos" in value:
            try:
                task = KlingTask.from_dict(value)
            except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
                raise KlingBadRequestError(
                    f"task={show(sorted(map(str, value)), 80)} is no KlingTask.to_dict() ({error}). Give the sensor's "
                    "result, the submit's kling_task, or a task id."
                )
        else:
            ref = TaskRef.read(value, self.endpoint)
            task = self.hook.get_task(ref.task_id, endpoint=ref.endpoint)
        if task.status == FAILED:
            raise KlingTaskFailedError(
                f"Task {task.name} of {task.endpoint} failed ({task.status_message or 'no reason told'}); there "
                "is nothing to store.",
                endpoint=task.endpoint,
                task_id=task.task_id,
            )
        return task

    def _store(self, task: KlingTask, index: int, item: KlingFile) -> dict[str, Any]:
        try:
            return self._fetch_and_put(task, index, item)
        except AirflowException:
            raise
        except Exception as error:  # disk full, no right, no bucket: every store has its own classes
            raise KlingStorageError(
                f"Task {task.name} of {task.endpoint} could not be stored in {show(self.destination, 120)}: "
                f"{type(error).__name__}: {shorten(error, 300)}. No half file is left. The video is still at Kling "
                f"({self.hook.config.gateway.result_ttl_days:g} days from its end); once the destination, its "
                "rights or its space are right, a retry or a clear fetches it again, which costs nothing.",
                endpoint=task.endpoint,
                task_id=task.task_id,
            )

    def _fetch_and_put(self, task: KlingTask, index: int, item: KlingFile) -> dict[str, Any]:
        stored = self._stored(task, index, item)
        if stored is not None:
            path, media = stored
            self.log.info("%s is stored already; it is not fetched again.", path)
            with path.open("rb") as file:
                return _entry(task, item, path, file, media)
        with self._scratch_file() as file:
            media = self._fetch(task, index, item, file)
            path = self._path(task, index, item, media.extension)
            self._see_what_is_replaced(task, item, path, file)
            self._put(file, path)
            entry = _entry(task, item, path, file, media)
        self.log.info("Stored %s (%s bytes, sha256 %s).", entry["uri"], entry["bytes"], entry["sha256"])
        return entry

    def _fetch(self, task: KlingTask, index: int, item: KlingFile, file: BinaryIO) -> MediaType:
        from kling_provider.transfers.download import EXPIRED

        download = self._download(task, index, item)
        try:
            download.into(file)
            try:
                return recognise(file)
            except NotMedia as error:
                self.log.info("What was fetched %s; asking Kling for a fresh URL.", error)
                download.anew_into(file)
                return recognise(file)
        except NotMedia as error:
            if not _is_cut_off(file):
                self._refuse_what_is_deleted(task, f"What was fetched {error}")
            raise KlingUnreadableResponseError(
                f"What was fetched for task {task.name} of {task.endpoint} {error}, from a fresh URL too. Nothing was "
                "stored; the video may still be at Kling, and a retry asks for it again."
                + self._hint_at_its_age(task),
                endpoint=task.endpoint,
                task_id=task.task_id,
            )
        except KlingTaskNotFoundError:
            self._refuse_what_is_deleted(task, "Kling does not know the task any more")
            raise
        except KlingUnreadableResponseError:  # Kling was asked for a fresh URL, and something else answered
            raise
        except KlingServerError as error:
            if error.http_status in GONE:
                self._refuse_what_is_deleted(task, f"A fresh URL is answered with HTTP {error.http_status}")
            if error.http_status not in EXPIRED:
                raise
            raise KlingServerError(
                f"{error}{self._hint_at_its_age(task)}",
                failure=error.failure,
                endpoint=task.endpoint,
                task_id=task.task_id,
            )

    def _refuse_what_is_deleted(self, task: KlingTask, why: str) -> None:
        """Fail for good where a file is not there, and is older than what Kling keeps."""
        if (age := self._too_old(task)) is None:
            return
        raise KlingBadRequestError(
            f"{why}. {age}: its files are deleted, and no retry can fetch them. It was paid. If it is still wanted, "
            f"{_way_to_a_new_one(task)}",
            endpoint=task.endpoint,
            task_id=task.task_id,
        )

    def _hint_at_its_age(self, task: KlingTask) -> str:
        """What to think of a file that may be there, and is older than what Kling keeps."""
        if (age := self._too_old(task)) is None:
            return ""
        return (
            f" {age}, so its files are probably deleted, or will be soon. If retries do not help, see that nothing "
            "between this machine and the file's host (a proxy, a filter) answers in its place. If the video is "
            f"still wanted then, {_way_to_a_new_one(task)}"
        )

    def _too_old(self, task: KlingTask) -> str | None:
        """Say since when a task is over, if that is longer than Kling keeps results."""
        days = self.hook.config.gateway.result_ttl_days
        if task.updated_at is None or datetime.now(UTC) - task.updated_at < timedelta(days=days):
            return None
        return (
            f"Task {task.name} of {task.endpoint} was over on {task.updated_at:%Y-%m-%d %H:%M} UTC, and this gateway "
            f"keeps results for {days:g} days"
        )

    def _download(self, task: KlingTask, index: int, item: KlingFile) -> Any:
        from kling_provider.transfers.download import Download

        def fresh_url() -> str:
            if endpoint_for(task.endpoint).work == "call":  # no query gives its answer again
                return item.url
            items = self.hook.get_task(task.task_id, endpoint=task.endpoint).files
            same = [new.url for new in items if new.media_id == item.media_id]
            return same[0] if same else items[index].url if index < len(items) else item.url

        return Download(self.hook.config, item.url, fresh_url, self.max_bytes)

    def _path(self, task: KlingTask, index: int, item: KlingFile, extension: str) -> ObjectStoragePath:
        try:
            name = self.filename.format(
                task_id=_FILE_NAME.sub("_", task.name),
                media_id=_FILE_NAME.sub("_", item.media_id),
                index=index,
                extension=extension,
            )
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise KlingBadRequestError(
                f"filename={show(self.filename, 80)} may hold {{task_id}}, {{media_id}}, {{index}} and "
                f"{{extension}} only ({type(error).__name__}: {error})."
            )
        folder = (
            self.destination if "://" in self.destination else f"file://{os.path.abspath(self.destination)}"
        )
        if ".." in name.split("/") or ".." in self.destination.split("/") or name.startswith("/"):
            raise KlingBadRequestError(
                f"destination={show(self.destination, 80)} with filename={show(self.filename, 80)} leads "
                "out of its folder ('..'). Write the folder out."
            )
        return storage_path(folder.rstrip("/") + "/" + name, self.storage_conn_id)

    def _stored(
        self, task: KlingTask, index: int, item: KlingFile
    ) -> tuple[ObjectStoragePath, MediaType] | None:
        """Find the file where an earlier try put it. Files appear whole, so one that is there is whole.

        Only under a name that no other task's file has: a ``latest.mp4`` may be the video of yesterday.
        """
        if not self._is_named(task, item):
            return None
        for extension in ("mp4", "png", "jpg", "mp3", "wav"):
            path = self._path(task, index, item, extension)
            if path.exists():
                try:
                    with path.open("rb") as file:
                        return path, recognise(file)
                except NotMedia as error:
                    self.log.warning("%s %s; it is fetched anew.", path, error)
            if "{extension}" not in self.filename:
                break
        return None

    def _is_named(self, task: KlingTask, item: KlingFile) -> bool:
        return is_named(task, item, self.destination, self.filename)

    def _refuse_a_name_of_siblings(
        self, context: Mapping[str, Any], task: KlingTask, items: Sequence[KlingFile]
    ) -> None:
        """See that mapped tasks do not store their files under one name, where all but the last are lost."""
        map_index = getattr(context.get("ti"), "map_index", None)
        if map_index is None or map_index < 0 or all(self._is_named(task, item) for item in items):
            return
        if any(may_differ(template) for template in self._templates()):
            return
        raise KlingBadRequestError(
            f"Nothing was fetched. filename={show(self.filename, 80)} in destination={show(self.destination, 80)} is "
            "the same for all mapped tasks of this run, so each would replace what another one has stored. Put "
            "{task_id} into filename and clear this task. (Kling gives pictures no id: their {media_id} is image-0 "
            "in every task.)",
            endpoint=task.endpoint,
            task_id=task.task_id,
        )

    def _templates(self) -> list[Any]:
        """``destination`` and ``filename`` as the DAG has them; None where they are mapped or not known."""
        dag = self.get_dag()
        written = dag.task_dict.get(self.task_id) if dag else None
        partial = getattr(written, "partial_kwargs", None)
        fields = ("destination", "filename")
        if partial is not None:
            return [partial.get(name) for name in fields]
        return [getattr(written, name, None) for name in fields]

    def _see_what_is_replaced(
        self, task: KlingTask, item: KlingFile, path: ObjectStoragePath, file: BinaryIO
    ) -> None:
        """Say so before a file is replaced; refuse it where the name was meant to be this file's own."""
        if self._is_named(task, item) or not path.exists():
            return
        if "media_id" not in fields_of(self.filename):
            self.log.warning("%s is there already; the result of task %s replaces it.", path, task.name)
            return
        with path.open("rb") as stored:
            if _digest(stored) == _digest(file):
                return
        raise KlingBadRequestError(
            f"{path} holds another task's result already, which is kept; that of task {task.name} was not stored. "
            f"Kling gave this file no id, so {{media_id}} in filename={show(self.filename, 80)} is {item.media_id} in "
            "every task. Put {task_id} into filename and clear this task, which fetches it again and submits nothing.",
            endpoint=task.endpoint,
            task_id=task.task_id,
        )

    @contextmanager
    def _scratch_file(self) -> Iterator[BinaryIO]:
        """A file to fetch into; on the destination's own disk where that is local, so that it can be renamed.

        It is locked while its worker lives: what a killed one has left is found by that, and removed.
        """
        folder = Path(tempfile.gettempdir())
        if self.destination.startswith(("file://", "/")) or "://" not in self.destination:
            folder = Path(self.destination.removeprefix("file://")).absolute()
            folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        while True:
            path = folder / f"{_PART_PREFIX}{_HOST}-{secrets.token_hex(8)}.part"
            file = path.open("x+b")
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)  # waits for another who looks for leftovers: a moment
            if path.exists():
                break
            file.close()  # taken for a leftover before it was locked
        with file:
            try:
                yield file
            finally:
                path.unlink(missing_ok=True)

    def _put(self, file: BinaryIO, path: ObjectStoragePath) -> None:
        """Make the file appear at ``path`` whole or not at all."""
        file.flush()
        if path.protocol == "file":
            target = Path(path.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.fsync(file.fileno())
            os.chmod(file.name, 0o666 & ~_umask())
            os.replace(file.name, target)
            return
        store = path.fs
        if path.protocol in ATOMIC_PROTOCOLS:
            store.put_file(file.name, path.path)
            self._check_size(file, path)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.parent / f"{_PART_PREFIX}{secrets.token_hex(8)}.part"
        try:
            store.put_file(file.name, beside.path)
            self._check_size(file, beside)
            if store.exists(path.path):
                store.rm_file(path.path)  # not every store renames onto a file
            store.mv(beside.path, path.path)
        except BaseException:
            with suppress(Exception):
                store.rm_file(beside.path)
            raise

    def _check_size(self, file: BinaryIO, path: ObjectStoragePath) -> None:
        path.fs.invalidate_cache()
        size, stored = os.fstat(file.fileno()).st_size, path.stat().st_size
        if size == stored:
            return
        with suppress(Exception):
            path.unlink()
        raise OSError(f"{path} holds {stored} bytes after {size} were written")

    def _emit(self, context: Mapping[str, Any], task: KlingTask, manifest: list[dict[str, Any]]) -> None:
        events = context.get("outlet_events")
        if not self.asset_alias or events is None:
            return
        for entry in manifest:
            details = {
                name: entry[name] for name in ("bytes", "sha256", "media_type", "duration", "media_id")
            }
            try:
                events[AssetAlias(self.asset_alias)].add(
                    Asset(uri=_asset_uri(entry["uri"])), extra={**details, **self._facts(task)}
                )
            except ValueError as error:  # the file is stored; a URI that no Asset can have must not fail it
                self.log.warning("No asset event for %s: %s", entry["uri"], error)

    def _facts(self, task: KlingTask) -> dict[str, Any]:
        return {
            "task_id": task.name,
            "endpoint": task.endpoint,
            "external_task_id": task.external_task_id,
            "model_name": self._model_name,
            "units": None if task.units is None else str(task.units),
        }

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> Any:
        """Tell OpenLineage which files came from which task at Kling; see ``kling_provider.lineage``."""
        from kling_provider.lineage import lineage

        if self._stored_task is None:
            return None
        return lineage(
            used_task=self._stored_task.name,
            outputs=[entry["uri"] for entry in self._manifest],
            facts=self._facts(self._stored_task),
        )


def _way_to_a_new_one(task: KlingTask) -> str:
    own = task.external_task_id
    if own and not is_derived(own):  # on_clear changes derived ids only
        return (
            f"choose another external_task_id than {own!r} and set on_clear='resubmit' at the submit, and clear that: "
            "it makes a new one, which is paid."
        )
    return (
        "set on_clear='resubmit' at the submit (and choose another external_task_id, where it has one of its own), and "
        "clear that: it makes a new one, which is paid."
    )


def _is_cut_off(file: BinaryIO) -> bool:
    """Whether what was fetched is the beginning of a medium, or nothing: the rest may be there."""
    file.seek(0)
    head = file.read(16)
    try:
        by_first_bytes(head)
    except NotMedia:
        return not head
    return True


def _entry(
    task: KlingTask, item: KlingFile, path: ObjectStoragePath, file: BinaryIO, media: MediaType
) -> dict[str, Any]:
    size, sha256 = _digest(file)
    return {
        "uri": _public_uri(path),
        "bytes": size,
        "sha256": sha256,
        "media_type": media.mime,
        "duration": item.duration,
        "task_id": task.task_id,
        "media_id": item.media_id,
    }


def _digest(file: BinaryIO) -> tuple[int, str]:
    """Length in bytes and sha256 of a file."""
    digest = hashlib.sha256()
    file.seek(0)
    size = 0
    while chunk := file.read(1024 * 1024):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def _public_uri(path: ObjectStoragePath) -> str:
    """The URI without the connection id that ObjectStoragePath allows in front of the bucket."""
    scheme, _, rest = str(path).partition("://")
    authority, slash, tail = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{tail}"


def _asset_uri(uri: str) -> str:
    """The URI as an Asset can have it everywhere: Airflow 3.0, and MySQL, take ASCII only."""
    return re.sub(r"[^\x00-\x7f]+", lambda found: quote(found[0]), uri)


def _remove_leftovers(folder: Path) -> None:
    """Remove what workers that were killed have left; never what one is writing to."""
    for path in folder.glob(f"{_PART_PREFIX}*.part"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = path.name.startswith(f"{_PART_PREFIX}{_HOST}-")
            if is_ours or time.time() - path.stat().st_mtime > ABANDONED_AFTER_SECONDS:
                path.unlink()


def _umask() -> int:
    """The process's umask can only be read by setting it; /proc tells it without that race."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"^Umask:\s*(\d+)", status, re.MULTILINE).group(1), 8)  # type: ignore[union-attr]
    except (OSError, AttributeError):
        return 0o022
