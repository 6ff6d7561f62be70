"""Links from a task in Airflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


def is_web_address(url: object) -> TypeGuard[str]:
    """Whether a browser that is sent there runs no script of ours: neither ``javascript:`` nor ``file:``.

    :param url: of a result, which Kling or whoever wrote the XCom has chosen.
    """
    return isinstance(url, str) and url.startswith(("http://", "https://"))


class KlingVideoLink(BaseOperatorLink):
    """Opens the first video of the result, as long as Kling keeps it."""

    name = "Kling video"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the video's address, or nothing while there is none.

        Airflow asks on the worker after each run, also after a deferral; so the operator's own memory is
        read, because asking for an XCom that is not there yet writes an error into the task's log.
        """
        url = getattr(operator, "finished_video_url", None)
        return url if is_web_address(url) else ""


class KlingConsoleLink(BaseOperatorLink):
    """Opens the console of the account that pays; a gateway without a known one has no such link."""

    name = "Kling console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the console's address, or nothing where it is not known or the connection cannot be read.

        A link must not make the end of a task fail, nor write an error into its log.
        """
        try:
            url = operator.hook.config.console_url  # type: ignore[attr-defined]
        except Exception:  # a secrets backend raises whatever it likes
            return ""
        return url or ""
