"""Pay once where ids cannot be looked up: write the intent down before the POST, the id after it.

Used for gateways whose row says ``external_id: none``. The record lives in Airflow's task state (3.3+) and
survives retries and clears. Below 3.3 there is none, so a retry sends nothing and says what to check.

Rules
  * A record with an id: the task is taken over, nothing is sent.
  * A record without an id, from this try or an earlier one of the same clear: its POST may have been booked.
    Nothing is sent.
  * A clear by a person after that is their decision: the next POST goes out.
  * A definite refusal erases the record.
"""

from __future__ import annotations

from typing import Any, Protocol

from kling_provider.api.submitting import Outcome, Refused, Submitted
from kling_provider.exceptions import KlingBadRequestError, KlingSubmissionUnknownError
from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.outcomes import OnUnknown
from kling_provider.hooks.preparing import PreparedSubmit
from kling_provider.hooks.work import Work

KEY = "kling_submit"


class StateStore(Protocol):
    """What is used of Airflow's ``context["task_state_store"]``."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or ``default``."""

    def set(self, key: str, value: Any) -> None:
        """Write the value."""

    def delete(self, key: str) -> None:
        """Forget the key."""


class Intent:
    """The record of one submit that cannot be looked up.

    :param config: of the connection.
    :param prepared: the submit.
    :param work: the piece of work; gives the store, if Airflow has one.
    :param on_unknown: ``retry`` accepts that an unclear submit may be paid twice.
    """

    def __init__(self, config: KlingConfig, prepared: PreparedSubmit, work: Work, on_unknown: OnUnknown):
        self._risk_accepted = on_unknown == "retry"
        self._config = config
        self._prepared = prepared
        self._work = work
        self._key = KEY if work.key is None else f"{KEY}:{work.key}"[:512]

    def earlier_task(self) -> str | None:
        """The id that an earlier try was given, or None if nothing was sent.

        :raises KlingSubmissionUnknownError: if an earlier try may have sent something; nothing is sent now.
        :raises KlingBadRequestError: if the earlier try asked for something else.
        """
        if self._work.store is None:
            if self._work.is_retry and not self._risk_accepted:
                raise self._unknown("this Airflow (before 3.3) keeps no record of what that try sent")
            return None
        record = self._work.store.get(self._key)
        if not isinstance(record, dict):
            return None
        was_cleared = self._work.times_cleared > int(record.get("times_cleared", 0))
        same_request = record.get("request") == self._prepared.digest
        if was_cleared and (not same_request or not record.get("task_id") or self._work.wants_new):
            return None
        if not same_request:
            raise KlingBadRequestError(
                f"Nothing was sent. An earlier try of this task submitted another request to "
                f"{self._prepared.endpoint.name}: a retry must ask for the same. Clear the task to submit the new "
                "request.",
                endpoint=self._prepared.endpoint.name,
                task_id=record.get("task_id"),
            )
        if not record.get("task_id"):
            if self._risk_accepted:
                return None
            raise self._unknown("it wrote down that it would submit, and no answer after that")
        return str(record["task_id"])

    def before_post(self) -> None:
        """Write down that a POST goes out."""
        self._write({})

    def after_post(self, outcome: Outcome) -> None:
        """Write down what came of it: the id, nothing if Kling took nothing, or leave the intent standing."""
        if isinstance(outcome, Submitted):
            self._write({"task_id": outcome.task.task_id})
        elif isinstance(outcome, Refused) and self._work.store is not None:
            self._work.store.delete(self._key)

    def _write(self, details: dict[str, Any]) -> None:
        if self._work.store is not None:
            self._work.store.set(
                self._key,
                {"request": self._prepared.digest, "times_cleared": self._work.times_cleared, **details},
            )

    def _unknown(self, why: str) -> KlingSubmissionUnknownError:
        where = self._config.console_url or self._config.base_url
        return KlingSubmissionUnknownError(
            f"Nothing was sent. An earlier try of this task may have submitted to {self._prepared.endpoint.name} and "
            f"been paid: {why}, and gateway {self._config.gateway.name!r} cannot be asked. Look for the task in the "
            f"console ({where}). If it is there, give its id to KlingTaskSensor; if not, clear this task to "
            "submit again.",
            endpoint=self._prepared.endpoint.name,
        )
