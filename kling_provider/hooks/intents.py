"""What a submit has asked for, written down in Airflow's task state (3.3+), where retries and clears find it.

Where ids can be looked up, the record only keeps a retry from asking for something else. Where they cannot
(rows with ``external_id: none``), it is what keeps a retry from paying twice: the intent is written before
the POST, the id after it.

Rules for the latter
  * A record with an id: the task is taken over, nothing is sent.
  * A record without an id: its POST may have been booked. Nothing is sent.
  * A clear by a person after that is their decision: the next POST goes out.
  * A definite refusal erases the record.
  * No task state (before 3.3): only the first try sends.
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
    """The record of one submit.

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
        self._store: StateStore | None = work.store
        self._key = KEY if work.key is None else f"{KEY}:{work.key}"[:512]
        self.was_cleared = False

    def refuse_another_request(self) -> None:
        """Write down what is asked for; on a retry, see that it is the same.

        :raises KlingBadRequestError: if an earlier try asked for something else, before anything is paid.
        """
        if self._read() is None or self.was_cleared:
            self._write({})

    def earlier_task(self) -> str | None:
        """The id that an earlier try was given, or None if nothing was sent.

        :raises KlingSubmissionUnknownError: if an earlier try may have sent something; nothing is sent now.
        :raises KlingBadRequestError: if the earlier try asked for something else.
        """
        if self._store is None:
            if self._work.is_retry and not self._risk_accepted:
                raise self._unknown(
                    "Airflow before 3.3 keeps no record of what it sent",
                    "start a new DAG run, or set on_unknown_submission='retry' to submit again from here",
                )
            return None
        record = self._read()
        if record is None:
            return None
        if not record.get("task_id"):
            if self.was_cleared or self._risk_accepted:
                return None
            raise self._unknown(
                "it wrote down that it would submit, and no answer after that",
                "clear this task to submit again",
            )
        is_other = record.get("request") != self._prepared.digest
        if self.was_cleared and (self._work.wants_new or is_other):
            return None
        return str(record["task_id"])

    def before_post(self) -> None:
        """Write down that a POST goes out."""
        self._write({})

    def after_post(self, outcome: Outcome) -> None:
        """Write down what came of it: the id, nothing if Kling took nothing, or leave the intent standing."""
        if isinstance(outcome, Submitted):
            self._write({"task_id": outcome.task.task_id})
        elif isinstance(outcome, Refused) and self._store is not None:
            self._store.delete(self._key)

    def _read(self) -> dict[str, Any] | None:
        record = self._store.get(self._key) if self._store is not None else None
        if not isinstance(record, dict):
            return None
        self.was_cleared = self._work.max_tries > int(record.get("max_tries", 0))
        if not self.was_cleared and record.get("request") != self._prepared.digest:
            raise KlingBadRequestError(
                f"Nothing was sent. An earlier submit of this task asked {self._prepared.endpoint.name} for "
                "something else, and a retry must ask for the same. Clear the task to submit the new request; in a "
                "@task that submits several times, tell them apart with key=.",
                endpoint=self._prepared.endpoint.name,
                task_id=record.get("task_id"),
            )
        return record

    def _write(self, details: dict[str, Any]) -> None:
        if self._store is not None:
            record = {"request": self._prepared.digest, "max_tries": self._work.max_tries, **details}
            self._store.set(self._key, record)

    def _unknown(self, why: str, otherwise: str) -> KlingSubmissionUnknownError:
        where = self._config.console_url or self._config.base_url
        return KlingSubmissionUnknownError(
            f"Nothing was sent. An earlier try of this task may have submitted to {self._prepared.endpoint.name} and "
            f"been paid: {why}, and gateway {self._config.gateway.name!r} cannot be asked. Look for the task in the "
            f"console ({where}). If it is there, give its id to KlingTaskSensor; if not, {otherwise}.",
            endpoint=self._prepared.endpoint.name,
        )
