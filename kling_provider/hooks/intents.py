"""What a submit has asked for, written down in Airflow's task state (3.3+), where retries and clears find it.

The intent is written before the POST, the id after it. Where ids can be looked up, the record saves look-ups,
keeps a retry from asking for something else or of another account, and tells what was surely never sent.
Where they cannot (rows with ``external_id: none``), it is what keeps a retry from paying twice.

Rules for the latter
  * A record with an id: the task is taken over, nothing is sent.
  * A record without an id: its POST may have been booked. Nothing is sent.
  * A clear by a person who was told so is their decision: the next POST goes out. A clear before that (the try
    was killed, and had none after it) tells them first.
  * A definite refusal erases the intent.
  * What is answered at once is written down whole: no query gives it again.
  * The records belong to a position of a mapped task. Where its list has shifted after a clear, the record of a
    key may stand elsewhere: nothing is sent.
  * No task state (before 3.3): only the first try sends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Protocol

from kling_provider.api.identity import is_derived
from kling_provider.api.submitting import Outcome, Refused, Submitted, Unknown
from kling_provider.api.tasks import KlingTask
from kling_provider.exceptions import KlingBadRequestError, KlingSubmissionUnknownError
from kling_provider.hooks.config import KlingConfig
from kling_provider.hooks.outcomes import OnUnknown
from kling_provider.hooks.preparing import PreparedSubmit
from kling_provider.hooks.work import Work, record_key

log = logging.getLogger(__name__)

#: The idempotency_key that was last submitted by this task instance.
POSITION_KEY = "kling_submit_position"


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
        # A @task may submit several times; without a key, one record would not tell them apart.
        is_alone = work.submits_once or work.key is not None or not prepared.can_look_up
        self._store: StateStore | None = work.store if is_alone else None
        # What is answered at once is small, and one @task may well ask for several such things.
        is_shared = work.submits_once or prepared.endpoint.work != "call"
        self._key = record_key(
            work.key or (None if is_shared else f"{prepared.endpoint.name} {prepared.digest}")
        )
        self._record: Mapping[str, Any] = {}
        self._has_posted = False
        #: Set when the recorded task was found: a new key then leads to the same account.
        self.account_is_known = False

    def read(self) -> None:
        """Read what earlier tries wrote.

        :raises KlingBadRequestError: if an earlier try asked for something else, or had another idempotency_key,
            before anything is paid.
        """
        self._refuse_another_key()
        record = self._store.get(self._key) if self._store is not None else None
        self._record = record if isinstance(record, dict) else {}
        if self._record and self.is_other_request and not self.was_cleared:
            raise self._another_request()

    def _refuse_another_key(self) -> None:
        """A key that renders anew in each try would make each try new work."""
        work = self._work
        before = self._store.get(POSITION_KEY) if self._store is not None and self._has_key else None
        if self._store is None or before in (None, work.key):
            return
        record = self._store.get(record_key(str(before)))
        if not isinstance(record, dict) or record.get("refused"):
            return
        if work.max_tries > int(record.get("max_tries", 0)):
            return
        name, task_id, sent = (
            self._prepared.endpoint.name,
            record.get("task_id"),
            record.get("external_task_id"),
        )
        known = f"kling_task_id={task_id!r}" if task_id else f"external_task_id={sent!r}"
        collect = f"Collect it with KlingAdoptOperator({known}, endpoint={name!r})."
        raise KlingBadRequestError(
            f"Nothing was sent. An earlier try of this task had idempotency_key={before!r}, this one has {work.key!r}, "
            "and a retry must have the same: it says which work this is. The earlier one "
            f"{f'submitted task {task_id}, which is paid' if task_id else 'may be booked and paid'}. "
            f"{collect if task_id or sent else 'Look for it in the console.'} Keep what differs from try to try out of "
            "the template, or leave it out. A clear submits under the new key, which is paid again.",
            endpoint=name,
            task_id=str(task_id) if task_id else None,
            external_task_id=sent,
        )

    @property
    def is_recorded(self) -> bool:
        """Whether anything was written down for this work."""
        return bool(self._record)

    @property
    def was_cleared(self) -> bool:
        """Whether a person has cleared the task since the record was written."""
        return bool(self._record) and self._work.max_tries > int(self._record.get("max_tries", 0))

    @property
    def is_other_request(self) -> bool:
        """Whether the record is of another request than the one at hand."""
        return bool(self._record) and self._record.get("request") != self._prepared.digest

    @property
    def _asks_for_another(self) -> bool:
        """Whether a person has cleared the task to have another task than the recorded one."""
        return self.was_cleared and (self._work.wants_new or self.is_other_request)

    @property
    def task_id(self) -> str | None:
        """The id that an earlier try was given."""
        return str(self._record["task_id"]) if self._record.get("task_id") else None

    @property
    def wanted_task_id(self) -> str | None:
        """The same, unless a person wants another one."""
        return None if self._asks_for_another else self.task_id

    @property
    def posted_at(self) -> float | None:
        """Epoch seconds of the first POST of the recorded id."""
        return self._record.get("posted_at")

    @property
    def sent_at(self) -> float | None:
        """Epoch seconds of its last POST, unless what came of that is known."""
        is_known = self.task_id is not None or self._record.get("refused")
        return None if is_known else self._record.get("sent_at") or self.posted_at

    @property
    def earlier_answer(self) -> KlingTask | None:
        """What an earlier try was answered at once, and paid for, unless it is a session that has ended."""
        answer = self._record.get("answer")
        if answer is None or self._asks_for_another:
            return None
        lives = self._prepared.endpoint.answer_lives_hours
        if lives and time.time() - (self.posted_at or 0) > lives * 3600:
            log.warning(
                "What an earlier try was answered is more than %g hours old and gone by now; asking anew.",
                lives,
            )
            return None
        return KlingTask.from_dict(answer)

    def other_id_sent(self, own_id: str) -> str | None:
        """The caller's own id under which an earlier try may have left a task, if it was another one than now."""
        sent = self._record.get("external_task_id")
        is_answered = self.task_id is not None or self._record.get("refused")
        if sent in (None, own_id) or is_derived(str(sent)) or is_answered or self._asks_for_another:
            return None
        return str(sent)

    def may_be_booked(self, external_id: str | None) -> bool | None:
        """Whether an earlier try may have sent this id; None where nothing is recorded, which proves nothing."""
        if not self._record:
            return None
        return self._record.get("external_task_id") == external_id

    @property
    def is_same_account(self) -> bool:
        """Whether the connection leads to the account of the record, as far as that is known."""
        return self.account_is_known or self._record.get("account") == self._config.account

    @property
    def external_task_id(self) -> str | None:
        """The recorded id of ours."""
        return self._record.get("external_task_id")

    def refuse_another_account(self) -> None:
        """See that the connection still leads to the account that may have been charged.

        :raises KlingBadRequestError: if its key is another one and the recorded task is not found with it.
        """
        if not self._record or self.was_cleared or self.is_same_account:
            return
        task_id = self.task_id
        raise KlingBadRequestError(
            f"Nothing was sent. Since an earlier try of this task submitted "
            f"{f'task {task_id}' if task_id else 'to Kling'}, connection {self._config.conn_id!r} was changed to "
            "another key, and with that one the task is not found: it seems to be another account. Put the old key "
            "back to collect the task; or clear this task to submit (and pay) again on the new account.",
            endpoint=self._prepared.endpoint.name,
            task_id=task_id,
        )

    def earlier_task(self) -> str | None:
        """The id that an earlier try was given where ids cannot be looked up, or None if nothing was sent.

        :raises KlingSubmissionUnknownError: if an earlier try may have sent something; nothing is sent now.
        """
        if self._store is None:
            if self._work.is_retry and not self._risk_accepted:
                raise self._unknown(
                    "Airflow before 3.3 keeps no record of what it sent",
                    "start a new DAG run, or set on_unknown_submission='retry' to submit again from here",
                )
            return None
        if not self._record:
            if self._may_stand_elsewhere() and not self._risk_accepted:
                raise self._unknown(
                    "this DAG run was cleared, its list of mapped tasks may have shifted, and what was written down "
                    "for this idempotency_key would stand at another position",
                    "submit what is new in a new DAG run",
                )
            return None
        if self.task_id is None:
            if self._was_told or self._risk_accepted or self._record.get("answer"):
                return None
            self._note_told()
            raise self._unknown(
                "it wrote down that it would submit, and no answer after that",
                "clear this task to submit again",
            )
        return self.wanted_task_id

    def before_post(self, external_id: str | None) -> None:
        """Write down that a POST goes out. Where that cannot be done, nothing is sent unseen.

        :raises KlingBadRequestError: if the connection leads to another account than an earlier try's.
        """
        self.refuse_another_account()
        now = time.time()
        posted_at = self.posted_at if self.may_be_booked(external_id) else None
        self._has_posted = True
        try:
            self._write(external_id, posted_at=posted_at or now, sent_at=now)
        except Exception as error:
            if not self._prepared.can_look_up:
                raise
            log.warning("Airflow's task state did not take the intent to submit: %s", error)

    def after_post(self, outcome: Outcome, *, is_alone: bool = True) -> None:
        """Write down what came of it: the id, nothing if Kling took nothing, or leave the intent standing.

        :param outcome: of the submit.
        :param is_alone: whether no other POST of its id may have been booked.
        """
        if self._store is None:
            return
        try:
            if isinstance(outcome, Submitted):
                task = outcome.task
                endpoint = self._prepared.endpoint
                at_once = endpoint.work == "call" or (endpoint.is_raw and task.is_terminal)
                if at_once and not task.is_successful:
                    self.forget()  # nothing was paid
                    return
                found = {"answer": task.to_dict()} if at_once else {"task_id": task.task_id}
                self._write(task.external_task_id, posted_at=self.posted_at, **found)
            elif isinstance(outcome, Refused) and not self._prepared.can_look_up:
                self.forget()
            elif isinstance(outcome, Refused) and self._has_posted and is_alone:
                self._note(refused=True)
            elif isinstance(outcome, Unknown) and not self._risk_accepted:
                self._note_told()
        except Exception as error:  # whatever it is, an id that was paid for must not go down with it
            told = (
                f"task {outcome.task.task_id}"
                if isinstance(outcome, Submitted)
                else "what came of the submit"
            )
            log.warning("Airflow's task state did not take %s: %s", told, error)

    @property
    def _was_told(self) -> bool:
        """Whether a person was told, before the last clear, that a POST may have been booked."""
        told = self._record.get("told")
        return told is not None and self._work.max_tries > int(told)

    def _note_told(self) -> None:
        """Note that this try tells it: a clear from now on is an answer to that."""
        self._note(told=self._work.max_tries)

    def _note(self, **details: Any) -> None:
        if self._store is not None:
            self._record = {**self._record, **details}
            self._store.set(self._key, self._record)

    @property
    def _has_key(self) -> bool:
        """Whether the work is known by its key, and its record by the task instance."""
        return self._work.key is not None and self._work.identity is not None and self._work.submits_once

    def _may_stand_elsewhere(self) -> bool:
        """Whether a mapped task with a key of its own may have been at another position before a clear."""
        is_mapped = self._work.identity is not None and self._work.identity.map_index >= 0
        if self._store is None or not (self._has_key and is_mapped):
            return False
        work, position = self._work, self._store.get(POSITION_KEY)
        return position != work.key if position is not None else work.run_was_cleared and not work.is_retry

    def forget(self) -> None:
        """Nothing of this work was booked."""
        if self._store is not None:
            self._store.delete(self._key)

    def _write(self, external_id: str | None, **details: Any) -> None:
        if self._store is None:
            return
        self._record = {
            "request": self._prepared.digest,
            "fields": dict(self._prepared.field_digests),
            "external_task_id": external_id,
            "account": self._config.account,
            "max_tries": self._work.max_tries,
            "retries": self._work.retries,
            **details,
        }
        self._store.set(self._key, self._record)
        if self._has_key:
            self._store.set(POSITION_KEY, self._work.key)

    def _another_request(self) -> KlingBadRequestError:
        before, now = dict(self._record.get("fields") or {}), dict(self._prepared.field_digests)
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        return KlingBadRequestError(
            f"Nothing was sent. An earlier submit of this task asked {self._prepared.endpoint.name} for something "
            f"else ({', '.join(changed) or 'the endpoint'} changed), and a retry must ask for the same. Keep what "
            "differs from try to try out of the templates, or clear the task to submit the new request; in a @task "
            "that submits several times, tell them apart with key=.",
            endpoint=self._prepared.endpoint.name,
            task_id=self.task_id,
        )

    def _unknown(self, why: str, otherwise: str) -> KlingSubmissionUnknownError:
        where = self._config.console_url or self._config.base_url
        return KlingSubmissionUnknownError(
            f"Nothing was sent. An earlier try of this task may have submitted to {self._prepared.endpoint.name} and "
            f"been paid: {why}, and gateway {self._config.gateway.name!r} cannot be asked. Look for the task in the "
            f"console ({where}). If it is there, collect it with KlingAdoptOperator or KlingTaskSensor; if not, "
            f"{otherwise}.",
            endpoint=self._prepared.endpoint.name,
        )
