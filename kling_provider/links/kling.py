"""Links from a task in Airflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class KlingVideoLink(BaseOperatorLink):
    """Opens the first video of the result, as long as Kling keeps it."""

    name = "Kling video"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the video's address, or nothing while there is none.

        Airflow asks on the worker after each run, also after a deferral; so the operator's own memory is
        read, because asking for an XCom that is not there yet writes an error into the task's log.
        """
        url = getattr(operator, "finished_video_url", None)
        return url if isinstance(url, str) and url.startswith(("http://", "https://")) else ""
