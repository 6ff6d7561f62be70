"""Which tasks are stored already, told from the names of the files."""

from __future__ import annotations

import os
import re

from kling_provider.transfers.destinations import storage_path

#: What may stand between an id and the rest of a name.
_BETWEEN = re.compile(r"[-_.=]+")


def stored_task_ids(destination: str, storage_conn_id: str | None = None) -> set[str]:
    """Tell which task ids stand in the names of the files under a folder, however deep. Nothing is read.

    Ids have no form of their own, so every part of a name that may be one is in the set, media ids too: ask it
    whether a task's id is in it. An id counts where it stands alone: ``{task_id}-{media_id}.mp4``,
    ``{index}_{task_id}.mp4``, ``{task_id}/{index}.mp4``. (A ``:``, which only some gateways' ids have, becomes
    ``_`` in a stored name, so such a task is never told; storing it again finds the file and fetches nothing.)

    :param destination: folder as a URI of object storage or a path, as the transfer was given it, without the
        parts that change from run to run.
    :param storage_conn_id: Airflow connection of the destination, if it needs one.
    :returns: empty where the folder does not exist.
    """
    folder = destination if "://" in destination else f"file://{os.path.abspath(destination)}"
    path = storage_path(folder, storage_conn_id)
    store = path.fs
    store.invalidate_cache()  # another worker may have stored since this process looked last
    root = path.path.rstrip("/")
    ids: set[str] = set()
    for name in store.find(root):
        for part in name.removeprefix(root).split("/"):
            if not part.startswith("."):  # half a file
                ids |= _possible_ids(part)
    return ids


def _possible_ids(name: str) -> set[str]:
    """Every stretch of a name that begins and ends at a separator."""
    begins = [0, *(match.end() for match in _BETWEEN.finditer(name))]
    ends = [*(match.start() for match in _BETWEEN.finditer(name)), len(name)]
    edges = range(len(begins))
    return {name[begins[first] : ends[last]] for first in edges for last in edges if first <= last}
