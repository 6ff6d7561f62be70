"""One piece of work from its first try to its end, in every Kling that may be out there: is it paid once?

The real flow (walk over the numbers, record, list) against a model of Kling with a clock of its own. Any eight of
lost answers, refusals, failed tasks and killed workers come first; after them everything works.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_provider.api import submitting
from kling_provider.api.calls import Call
from kling_provider.api.errors import ApiFailure, Failure, Reaction
from kling_provider.api.submitting import (
    EXISTS_PAUSES,
    LOOKUP_PAUSES,
    REFUSAL_PAUSES,
    SETTLE_SECONDS,
    Memory,
)
from kling_provider.api.tasks import KlingTask, TaskList
from kling_provider.exceptions import (
    KlingBadRequestError,
    KlingError,
    KlingRateLimitError,
    KlingSubmissionUnknownError,
)
from kling_provider.hooks import intents, submit_flow
from kling_provider.hooks.config import KlingConfig, read_connection
from kling_provider.hooks.flows import Do, Flow, Pause, Send
from kling_provider.hooks.preparing import PreparedSubmit, prepare
from kling_provider.hooks.submit_flow import Done, End, NoSlot, Paused, slot_error, submit
from kling_provider.hooks.work import work_of
from kling_provider.operators.submit import MOST_REFUSALS
from tests.api.properties import promise
from tests.contexts import StateStore

#: The pauses that users get; the rest of the tests has no time for them, here the clock is simulated.
REAL_PAUSES = {
    "SETTLE_SECONDS": SETTLE_SECONDS,
    "LOOKUP_PAUSES": LOOKUP_PAUSES,
    "EXISTS_PAUSES": EXISTS_PAUSES,
    "REFUSAL_PAUSES": REFUSAL_PAUSES,
}
BEGAN = 1790000000.0
RETRY_DELAY = 300.0
fewer = settings(promise, max_examples=80)
MOST_TRIES = 24

CUT = Failure(Reaction.SERVER, "cut")
TIMED_OUT = Failure(Reaction.SERVER, "nothing was heard", timed_out=True)
NEVER_SENT = Failure(Reaction.SERVER, "no route", never_sent=True)
HTML = Failure(Reaction.UNREADABLE, "<html>", None, 502)
SLOTS = Failure(Reaction.CONCURRENCY, "full", 1303, 429)
PACE = Failure(Reaction.RATE, "too fast", 1302, 429)
EXPIRED = Failure(Reaction.RESIGN, "expired", 1004, 401)
REJECTED = Failure(Reaction.AUTH, "no", 1002, 401)
ARREARS = Failure(Reaction.ACCOUNT, "no", 1102, 429)
BAD = Failure(Reaction.BAD_REQUEST, "no such model", 1201, 400)
NOT_FOUND = Failure(Reaction.NOT_FOUND, "Task not found", 1201, 400)
DUPLICATE = Failure(Reaction.BAD_REQUEST, "External_task_id already exists", 1201, 400)
#: Words nobody has told us, for both.
NOT_FOUND_ELSEWHERE = Failure(Reaction.BAD_REQUEST, "aucune tâche", 1201, 400)
DUPLICATE_ELSEWHERE = Failure(Reaction.BAD_REQUEST, "identifiant déjà pris", 1201, 400)


# -- the world


@dataclass(frozen=True)
class World:
    """How a Kling behaves; as it is documented, unless told otherwise.

    :param lookup_lag: seconds until a task can be found by our id, or in the list.
    :param unique_lag: seconds until a second create with the same id is noticed.
    :param query_lag: seconds until it can be found by its own.
    :param list_shown: ``newest`` or ``oldest`` first, or ``unordered``; None: there is no list.
    :param foreign: other people's tasks in the account: with ids of their own, or without.
    :param external_id: the connection's extra: how tasks are found.
    """

    lookup_lag: float = 0
    query_lag: float = 0
    unique_lag: float = 0
    accepts_duplicates: bool = False
    reuses_failed_id: bool = False
    drops_id: bool = False
    is_localised: bool = False
    list_shown: str | None = "newest"
    foreign: Sequence[KlingTask] = ()
    external_id: str = "lookup"


@dataclass(frozen=True)
class Fault:
    """What becomes of one POST.

    :param books: whether Kling carries it out, so many seconds ``late``.
    :param failure: what is heard; None: what Kling says.
    :param twice: a proxy sends it twice and passes on the ``first`` or ``second`` answer.
    """

    books: bool = True
    failure: Failure | None = None
    seconds: float = 1
    late: float = 0
    twice: str = ""


@dataclass(frozen=True)
class Event:
    """What happens at the next POST, if ``post`` says what becomes of it, or else at the next GET.

    :param get: what is heard of a GET; None: what Kling says.
    :param killed: the worker dies ``before`` it leaves, ``after`` it was carried out and before the answer is
        read, or one step ``later``: with the record written, in a pause, with the task not handed on.
    :param fails: Kling has failed what it had of ours by then.
    """

    post: Fault | None = None
    get: Failure | None = None
    killed: str = ""
    fails: bool = False


class Killed(BaseException):
    """SIGKILL: nothing of the worker goes on."""


FAULTS = {
    "fine": Fault(),
    "cut before": Fault(books=False, failure=CUT),
    "cut after": Fault(failure=CUT),
    "html after": Fault(failure=HTML),
    "booked late": Fault(failure=CUT, late=14),
    "timed out": Fault(books=False, failure=TIMED_OUT, seconds=60),
    "timed out and booked late": Fault(failure=TIMED_OUT, seconds=60, late=59),
    "never sent": Fault(books=False, failure=NEVER_SENT),
    "no slot": Fault(books=False, failure=SLOTS),
    "too fast": Fault(books=False, failure=PACE),
    "token": Fault(books=False, failure=EXPIRED),
    "key": Fault(books=False, failure=REJECTED),
    "arrears": Fault(books=False, failure=ARREARS),
    "bad": Fault(books=False, failure=BAD),
    "replayed, first answer": Fault(twice="first"),
    "replayed, second answer": Fault(twice="second"),
}


KILLED_WHEN = ("", "before", "after", "later")


def faults(without: Sequence[str]) -> list[Fault]:
    return [fault for name, fault in FAULTS.items() if name not in without]


def single_events(without: Sequence[str]) -> Iterator[Event]:
    for killed in KILLED_WHEN:
        yield from (Event(fault, killed=killed) for fault in faults(without))
        yield from (Event(get=failure, killed=killed) for failure in (None, CUT, HTML, PACE, REJECTED))


def events(without: Sequence[str]) -> st.SearchStrategy[list[Event]]:
    """Any eight things that happen, but for these faults."""
    posts = st.sampled_from([FAULTS["fine"]] * 5 + [FAULTS["cut after"]] * 3 + faults(without))
    gets = st.sampled_from([None, CUT, HTML, PACE, REJECTED])
    killed, fails = st.sampled_from(["", *KILLED_WHEN]), st.sampled_from([False, False, True])
    at_post = st.builds(Event, post=posts, killed=killed, fails=fails)
    at_get = st.builds(Event, get=gets, killed=killed, fails=fails)
    return st.lists(at_post | at_get, max_size=8)


@dataclass
class Kling:
    """A Kling in a world, to which events happen, and its clock."""

    world: World
    events: list[Event]
    now: float = BEGAN
    tasks: list[KlingTask] = field(default_factory=list)
    late: list[tuple[float, str | None]] = field(default_factory=list)
    posts: int = 0
    killing: bool = False

    def time(self) -> float:
        return self.now

    @property
    def paid(self) -> list[str]:
        """Our tasks that Kling has not failed."""
        return [task.task_id for task in self.tasks if task.status != "failed"]

    def settle(self) -> None:
        """Wait until everything that was sent is carried out."""
        self._book_what_is_late(float("inf"))

    def answer(self, call: Call[Any]) -> Any:
        event = self._next_event(call.method == "POST")
        self._book_what_is_late(self.now)
        if event.fails:
            self.tasks = [replace(task, status="failed") for task in self.tasks]
        if event.killed == "before":
            raise Killed
        self.killing = event.killed == "later"
        answer = self._post(call, event.post) if event.post else self._get_or(event.get, call)
        if event.killed == "after":
            raise Killed
        if isinstance(answer, Failure):
            raise ApiFailure(answer)
        return answer

    def _next_event(self, is_post: bool) -> Event:
        for number, event in enumerate(self.events):
            if (event.post is not None) == is_post:
                return self.events.pop(number)
        return Event(post=Fault() if is_post else None)

    def _post(self, call: Call[Any], fault: Fault) -> KlingTask | Failure:
        self.posts += 1
        self.now += fault.seconds
        assert self.posts < 100, "it never stops sending"
        external_id = None if self.world.drops_id else call.external_task_id
        if not fault.books:
            return fault.failure or CUT
        if fault.late:
            self.late.append((self.now + fault.late, external_id))
            return fault.failure or CUT
        answers = [self.book(external_id, self.now) for _ in range(2 if fault.twice else 1)]
        return fault.failure or answers[-1 if fault.twice == "second" else 0]

    def book(self, external_id: str | None, now: float) -> KlingTask | Failure:
        if external_id and any(self._takes(task, external_id, now) for task in self.tasks):
            return DUPLICATE_ELSEWHERE if self.world.is_localised else DUPLICATE
        task = KlingTask(
            f"t-{len(self.tasks) + 1}",
            "text2video",
            "processing",
            external_task_id=external_id,
            created_at=datetime.fromtimestamp(now, UTC),
        )
        self.tasks.append(task)
        return task

    def _takes(self, task: KlingTask, external_id: str, now: float) -> bool:
        is_free_again = self.world.reuses_failed_id and task.status == "failed"
        is_noticed = not self.world.accepts_duplicates and _age(task, now) >= self.world.unique_lag
        return task.external_task_id == external_id and is_noticed and not is_free_again

    def _book_what_is_late(self, until: float) -> None:
        due = [item for item in self.late if item[0] <= until]
        self.late = [item for item in self.late if item[0] > until]
        for at, external_id in due:
            self.book(external_id, at)

    def _get_or(self, failure: Failure | None, call: Call[Any]) -> Any:
        self.now += 1
        if failure:
            return failure
        visible = [task for task in self.tasks if _age(task, self.now) >= self.world.lookup_lag]
        if call.task_id:
            seen = [task for task in self.tasks if _age(task, self.now) >= self.world.query_lag]
            found = [task for task in seen if task.task_id == call.task_id]
        elif call.external_task_id:
            found = [task for task in visible if task.external_task_id == call.external_task_id]
        else:
            return self._page(visible, int(call.params["pageNum"]), int(call.params["pageSize"]))
        return found[-1] if found else NOT_FOUND_ELSEWHERE if self.world.is_localised else NOT_FOUND

    def _page(self, visible: list[KlingTask], number: int, size: int) -> TaskList | Failure:
        match self.world.list_shown:
            case None:
                return HTML
            case "newest":
                tasks = [*reversed(visible), *self.world.foreign]
            case "oldest":
                tasks = [*self.world.foreign, *visible]
            case _:
                half = len(self.world.foreign) // 2
                tasks = [*self.world.foreign[:half], *visible, *self.world.foreign[half:]]
        return TaskList(tasks[(number - 1) * size : number * size])


def _age(task: KlingTask, now: float) -> float:
    assert task.created_at is not None
    return now - task.created_at.timestamp()


def foreign_tasks(number: int, *, with_ids: bool) -> tuple[KlingTask, ...]:
    """Other people's, made just now."""
    return tuple(
        KlingTask(
            f"f-{index}",
            "text2video",
            "processing",
            external_task_id=f"theirs-{index}" if with_ids else None,
            created_at=datetime.fromtimestamp(BEGAN, UTC),
        )
        for index in range(number)
    )


# -- Airflow


@dataclass(frozen=True)
class Airflow:
    """How Airflow runs the task.

    :param has_state: 3.3 and later.
    :param hold: pauses that are longer give the worker back; None: none does.
    :param retry_delay: seconds between two tries.
    :param clears: so often a person clears the task after it has failed for good.
    :param own_id: whether the caller chose the id, which must not be taken.
    :param same_try: a killed worker's try is run again under its own number, as after a lost message.
    :param renews_id: the caller's own id renders to another one in each try.
    :param clears_killed: a try that was killed has no other after it, until a person clears it.
    """

    has_state: bool
    hold: float | None = None
    retry_delay: float = RETRY_DELAY
    clears: int = 0
    same_try: bool = False
    own_id: bool = False
    renews_id: bool = False
    clears_killed: bool = False


@dataclass(frozen=True)
class Told:
    """How a piece of work ended.

    :param task_id: with a task,
    :param error: or with the exception of the last try.
    :param doubted: of so many tasks a try has said that it does not know whether they are paid.
    """

    task_id: str | None
    error: KlingError | None
    doubted: int


def live(kling: Kling, airflow: Airflow, *, first: int = 1) -> Told:
    """Run tries, from the ``first``, until one has a task, or fails for good and nobody clears it any more.

    A key that is refused, say, may come between a second payment and the try that tells of it; so a person goes on
    clearing until it is told. Where nothing can be looked up, they look into the console when they are told to.
    """
    store = StateStore() if airflow.has_state else None
    max_tries, clears, number, doubted = 5, airflow.clears, first, 0
    with patch.object(submit_flow, "time", kling), patch.object(intents, "time", kling):
        for _ in range(MOST_TRIES):
            try:
                return Told(attempt(kling, airflow, store, number, max_tries), None, doubted)
            except Killed:
                number -= airflow.same_try
                max_tries = number + 5 if airflow.clears_killed else max_tries
            except KlingError as error:
                if isinstance(error, KlingSubmissionUnknownError):
                    doubted = len(kling.paid)
                    if kling.world.external_id == "none" and kling.paid:
                        return Told(None, error, doubted)
                if isinstance(error, AirflowFailException):
                    if not clears and len(kling.paid) <= max(1, doubted):
                        return Told(None, error, doubted)
                    clears, max_tries = max(0, clears - 1), number + 5
            kling.now += airflow.retry_delay
            number += 1
    raise AssertionError("it never ends")


def attempt(kling: Kling, airflow: Airflow, store: StateStore | None, number: int, max_tries: int) -> str:
    """One try, as the operator makes it: waits for slots, and goes on from plain values after a pause."""
    own_id = f"boat-{number if airflow.renews_id else 1}" if airflow.own_id else None
    config, prepared = asked(kling.world.external_id, own_id)
    context = {
        "ti": SimpleNamespace(dag_id="d", run_id="r", task_id="t", try_number=number, max_tries=max_tries),
        "task": SimpleNamespace(retries=5),
        "dag_run": SimpleNamespace(run_after=datetime.fromtimestamp(BEGAN, UTC)),
    }
    memory: Memory | None = None
    while True:
        work = work_of(context | ({"task_state_store": store} if store else {}))
        end = carry_out(kling, submit(config, prepared, work, memory=memory, hold=airflow.hold))
        match end:
            case Done(task):
                return task.task_id
            case Paused(seconds, kept):
                kling.now += seconds
            case NoSlot(failure, kept):
                if kept.refusals >= MOST_REFUSALS:
                    raise slot_error(failure, prepared)
                kling.now += 30
        memory = Memory.from_dict(json.loads(json.dumps(kept.to_dict())))


def carry_out(kling: Kling, flow: Flow[End]) -> End:
    """What a hook does, without sockets."""
    advance = lambda: next(flow)  # noqa: E731
    while True:
        kling_was_killing, kling.killing = kling.killing, False
        try:
            step = advance()
        except StopIteration as done:
            if kling_was_killing:
                raise Killed from None
            end: End = done.value
            return end
        answer: Any = None
        match step:
            case Pause(seconds):
                kling.now += seconds
            case Do(function):
                answer = function()
            case Send(call):
                try:
                    answer = kling.answer(call)
                except ApiFailure as error:
                    advance = lambda error=error: flow.throw(error)  # noqa: E731
                    continue
        if kling_was_killing:
            raise Killed
        advance = lambda answer=answer: flow.send(answer)  # noqa: E731


@cache
def asked(external_id: str, own_id: str | None) -> tuple[KlingConfig, PreparedSubmit]:
    """A connection, and a submit that was prepared with it."""
    conn = SimpleNamespace(host="", port=None, schema=None, login="access", password="a-secret-key" * 3)
    config = read_connection("kling_default", conn, {"external_id": external_id})
    return config, prepare(config, "text2video", {"prompt": "waves"}, own_id)


def airflows(world: World, without: Sequence[str]) -> st.SearchStrategy[Airflow]:
    """Any Airflow, within what is promised.

    A retry begins after what the last try sent can be seen; at once only where Kling refuses a second create
    from the first moment, and for no other reason. A try that runs again under its own number has a record (3.3),
    and so has one whose own id has changed.
    """
    is_unique = not (world.accepts_duplicates or world.unique_lag or world.drops_id)
    return st.builds(
        Airflow,
        has_state=st.booleans(),
        retry_delay=st.sampled_from([0.0, RETRY_DELAY] if is_unique and "bad" in without else [RETRY_DELAY]),
        hold=st.sampled_from([None, 0.0, 20.0]),
        clears=st.integers(0, 2),
        same_try=st.booleans(),
        own_id=st.booleans(),
        renews_id=st.booleans(),
        clears_killed=st.booleans(),
    ).map(
        lambda airflow: replace(
            airflow,
            same_try=airflow.same_try and airflow.has_state,
            renews_id=airflow.renews_id and airflow.has_state,
        )
    )


@pytest.fixture(autouse=True)
def _real_pauses(monkeypatch: pytest.MonkeyPatch, _no_time_lost: None) -> Iterator[None]:
    for name, pauses in REAL_PAUSES.items():
        monkeypatch.setattr(submitting, name, pauses)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


REPLAYED = ("replayed, first answer", "replayed, second answer")
THEIRS, NAMELESS = foreign_tasks(600, with_ids=True), foreign_tasks(3, with_ids=False)

#: Where a piece of work is paid once and ends with its task; and the faults that nothing helps against there
#: (see the last tests). A task may stay hidden for as long as an id that exists is looked for; where a second
#: create is not refused, for as long as an unclear answer is looked up after it has settled; where a create is
#: refused for another reason ("bad"), for as long as that is looked into.
PAID_ONCE: dict[str, tuple[World, Sequence[str]]] = {
    "as documented": (World(), ()),
    "as documented, retried at once": (World(), ("bad",)),
    "failed tasks give their id back": (World(reuses_failed_id=True), ()),
    "looked up after 30 s": (World(lookup_lag=sum(LOOKUP_PAUSES)), ("bad",)),
    "looked up after 5 min": (World(lookup_lag=sum(EXISTS_PAUSES) - 10), ("bad",)),
    "found by its own id after an hour": (World(query_lag=3600), ()),
    "unique after a minute": (World(unique_lag=60), REPLAYED),
    "unique after an hour": (World(unique_lag=3600), REPLAYED),
    "never unique": (World(accepts_duplicates=True), REPLAYED),
    "never unique, looked up after 30 s": (
        World(accepts_duplicates=True, lookup_lag=sum(LOOKUP_PAUSES)),
        REPLAYED,
    ),
    "other words": (World(is_localised=True), ("replayed, second answer",)),
    "other words, looked up after 25 s": (
        World(is_localised=True, lookup_lag=sum(REFUSAL_PAUSES) - 5),
        ("bad", "replayed, second answer"),
    ),
    "other words, looked up after 4 min": (
        World(is_localised=True, lookup_lag=240),
        ("replayed, second answer",),
    ),
    "no list": (World(list_shown=None), ()),
    "no list, never unique": (World(list_shown=None, accepts_duplicates=True), REPLAYED),
    "a full account, oldest first": (World(list_shown="oldest", foreign=THEIRS), ()),
    "a full account, unordered": (World(list_shown="unordered", foreign=THEIRS), ()),
    "found in the list only": (World(external_id="list", foreign=THEIRS), ()),
}

#: Where Kling gives too little for that: it is paid once, or a try says that it does not know.
PAID_ONCE_OR_TOLD: dict[str, tuple[World, Sequence[str]]] = {
    "looked up after an hour": (World(lookup_lag=3600), ()),
    "keeps no ids": (World(drops_id=True), REPLAYED),
    "keeps no ids, has no list": (World(drops_id=True, list_shown=None), REPLAYED),
    "keeps no ids but others'": (World(drops_id=True, foreign=THEIRS + NAMELESS), REPLAYED),
    "keeps no ids, looked for in the list": (World(drops_id=True, external_id="list"), REPLAYED),
    "others keep no ids": (World(foreign=NAMELESS), ()),
    "nothing can be asked": (World(drops_id=True, external_id="none"), REPLAYED),
}
ANYWHERE = PAID_ONCE | PAID_ONCE_OR_TOLD


@pytest.mark.parametrize("world", [world for world, _ in ANYWHERE.values()], ids=ANYWHERE)
@pytest.mark.parametrize("has_state", [True, False])
def test_where_nothing_goes_wrong_one_post_is_one_task(world: World, has_state: bool) -> None:
    kling = Kling(world, [])
    told = live(kling, Airflow(has_state))
    assert kling.paid == [told.task_id]
    assert kling.posts == 1


def check_paid_once(kling: Kling, told: Told) -> None:
    kling.settle()
    assert not told.doubted, told.error
    if told.task_id:
        assert kling.paid == [told.task_id]
    elif isinstance(
        told.error, KlingBadRequestError
    ):  # says that nothing was charged, or which task is there
        assert kling.paid in ([], [told.error.task_id])
    else:  # a key, an account: a person mends it and clears
        assert len(kling.paid) <= 1


def check_paid_once_or_told(kling: Kling, told: Told) -> None:
    kling.settle()
    assert len(kling.paid) <= max(1, told.doubted)
    assert told.task_id is None or kling.paid == [told.task_id]


@pytest.mark.parametrize("name", ANYWHERE)
@pytest.mark.parametrize("has_state", [True, False])
def test_any_single_thing_may_go_wrong(name: str, has_state: bool) -> None:
    """Each of them, in each world; combinations are up to chance, below."""
    world, without = ANYWHERE[name]
    for event in single_events(without):
        kling = Kling(world, [event])
        told = live(kling, Airflow(has_state))
        (check_paid_once if name in PAID_ONCE else check_paid_once_or_told)(kling, told)


@pytest.mark.parametrize(("world", "without"), PAID_ONCE.values(), ids=PAID_ONCE)
@fewer
@given(data=st.data())
def test_whatever_goes_wrong_it_is_paid_once_and_ends_with_its_task(
    world: World, without: Sequence[str], data: st.DataObject
) -> None:
    kling = Kling(world, data.draw(events(without)))
    check_paid_once(kling, live(kling, data.draw(airflows(world, without))))


@pytest.mark.parametrize(("world", "without"), PAID_ONCE_OR_TOLD.values(), ids=PAID_ONCE_OR_TOLD)
@fewer
@given(data=st.data())
def test_where_too_little_can_be_asked_there_is_no_second_payment_in_silence(
    world: World, without: Sequence[str], data: st.DataObject
) -> None:
    kling = Kling(world, data.draw(events(without)))
    check_paid_once_or_told(kling, live(kling, data.draw(airflows(world, without))))


# -- what these worlds have shown, one by one

LOST = Event(FAULTS["cut after"])
KILLED = Event(Fault(), killed="after")


@pytest.mark.parametrize("world", [World(list_shown=None), World(foreign=THEIRS + NAMELESS)])
@pytest.mark.parametrize("has_state", [True, False])
def test_a_retry_that_pays_again_where_no_ids_are_kept_says_so(world: World, has_state: bool) -> None:
    kling = Kling(replace(world, drops_id=True), [KILLED])
    told = live(kling, Airflow(has_state))
    assert kling.paid == ["t-1", "t-2"]
    assert isinstance(told.error, KlingSubmissionUnknownError)
    assert "an earlier try may have sent this" in str(told.error)
    assert told.error.task_id == "t-2"


@pytest.mark.parametrize("has_state", [True, False])
def test_what_an_earlier_try_left_does_not_pass_for_old_once_this_one_has_sent(has_state: bool) -> None:
    kling = Kling(World(drops_id=True, foreign=THEIRS), [KILLED, Event(FAULTS["no slot"])])
    told = live(kling, Airflow(has_state))
    assert isinstance(told.error, KlingSubmissionUnknownError)
    assert told.doubted == len(kling.paid) == 2


@pytest.mark.parametrize("has_state", [True, False])
def test_a_submit_that_was_lost_three_times_keeps_its_number(has_state: bool) -> None:
    kling = Kling(World(), [Event(FAULTS["cut before"])] * 3 + [KILLED])
    assert [live(kling, Airflow(has_state)).task_id] == kling.paid
    assert kling.posts == 4


@pytest.mark.parametrize("happening", [[KILLED], [LOST, Event(fails=True), KILLED]])
def test_a_try_that_runs_again_under_its_own_number_reads_the_record_first(happening: list[Event]) -> None:
    kling = Kling(World(accepts_duplicates=True), list(happening))
    told = live(kling, Airflow(has_state=True, same_try=True))
    assert kling.paid == [told.task_id]


@pytest.mark.parametrize("hold", [None, 0.0])
@pytest.mark.parametrize("has_state", [True, False])
def test_a_lost_post_of_a_second_try_is_not_taken_for_somebody_else_s_id(
    has_state: bool, hold: float | None
) -> None:
    """The first try died before it sent anything."""
    kling = Kling(World(), [LOST])
    assert [live(kling, Airflow(has_state, hold=hold, own_id=True), first=2).task_id] == kling.paid


@pytest.mark.parametrize("happening", [[], [KILLED], [Event(killed="later")]])
@pytest.mark.parametrize("has_state", [True, False])
def test_somebody_else_s_own_id_is_never_taken_over(has_state: bool, happening: list[Event]) -> None:
    kling = Kling(World(), list(happening), now=BEGAN - 3600)
    kling.book("boat-1", kling.now)
    kling.now = BEGAN
    told = live(kling, Airflow(has_state, own_id=True))
    assert isinstance(told.error, KlingBadRequestError)
    assert "is taken: task t-1" in str(told.error)


def test_look_ups_that_are_refused_for_their_pace_do_not_wait_for_ever() -> None:
    kling = Kling(World(), [Event(get=PACE)] * 100)
    with pytest.raises(KlingRateLimitError):
        attempt(kling, Airflow(has_state=False), None, 2, 5)
    assert kling.events
    assert kling.posts == 0


@pytest.mark.parametrize(
    "world", [World(accepts_duplicates=True, lookup_lag=30), World(unique_lag=60, lookup_lag=60)]
)
@pytest.mark.parametrize("hold", [None, 20.0])
@pytest.mark.parametrize("refusals", [0, 3])
def test_a_retry_that_comes_too_soon_lets_the_last_post_settle(
    world: World, hold: float | None, refusals: int
) -> None:
    kling = Kling(world, [Event(FAULTS["no slot"])] * refusals + [KILLED])
    assert [live(kling, Airflow(has_state=True, retry_delay=5, hold=hold)).task_id] == kling.paid


def test_a_retry_that_comes_before_kling_shows_what_is_recorded_pays_nothing() -> None:
    kling = Kling(
        World(accepts_duplicates=True, query_lag=60, lookup_lag=60), [Event(Fault(), killed="later")]
    )
    assert [live(kling, Airflow(has_state=True, retry_delay=20)).task_id] == kling.paid
    assert kling.posts == 1


@pytest.mark.parametrize(
    "happening", [[KILLED], [LOST], [Event(killed="later")], [KILLED, Event(fails=True)]]
)
def test_an_own_id_that_renders_anew_leads_to_what_an_earlier_try_sent(happening: list[Event]) -> None:
    kling = Kling(World(), list(happening))
    told = live(kling, Airflow(has_state=True, own_id=True, renews_id=True))
    assert kling.paid == [told.task_id]


def test_an_own_id_whose_lost_post_was_followed_by_a_refusal_is_gone_on_with() -> None:
    """What was refused last says nothing of what was sent before it."""
    hidden = World(lookup_lag=600)
    kling = Kling(hidden, [LOST, Event(FAULTS["never sent"])])
    told = live(kling, Airflow(has_state=True, own_id=True, renews_id=True, retry_delay=900))
    assert kling.paid == [told.task_id]


def test_what_was_refused_for_want_of_a_slot_is_not_given_time_to_settle() -> None:
    kling = Kling(World(), [Event(Fault(), killed="before"), *[Event(FAULTS["no slot"])] * 3])
    assert [live(kling, Airflow(has_state=True, hold=0.0)).task_id] == kling.paid
    assert kling.now - BEGAN < RETRY_DELAY + 3 * 30 + 30


@pytest.mark.parametrize("clears", [1, 2])
def test_a_clear_after_a_kill_that_nobody_was_told_of_sends_nothing(clears: int) -> None:
    kling = Kling(World(drops_id=True, external_id="none"), [KILLED])
    told = live(kling, Airflow(has_state=True, clears=clears, clears_killed=True))
    assert isinstance(told.error, KlingSubmissionUnknownError)
    assert kling.paid == ["t-1"]


# -- the boundary: what no protocol can see


def test_a_proxy_that_sends_twice_to_a_kling_that_takes_an_id_twice_pays_twice() -> None:
    kling = Kling(World(accepts_duplicates=True), [Event(FAULTS["replayed, first answer"])])
    assert live(kling, Airflow(has_state=True)).task_id
    assert kling.paid == ["t-1", "t-2"]


def test_a_replay_that_is_refused_in_unknown_words_passes_for_a_refusal() -> None:
    kling = Kling(World(is_localised=True), [Event(FAULTS["replayed, second answer"])])
    assert isinstance(live(kling, Airflow(has_state=True)).error, KlingBadRequestError)
    assert kling.paid == ["t-1"]


def test_a_replay_of_an_own_id_passes_for_a_taken_one_and_names_the_task() -> None:
    kling = Kling(World(), [Event(FAULTS["replayed, second answer"])])
    told = live(kling, Airflow(has_state=True, own_id=True))
    assert isinstance(told.error, KlingBadRequestError)
    assert kling.paid == [told.error.task_id]


@pytest.mark.parametrize(
    ("world", "airflow"),
    [
        (World(accepts_duplicates=True), Airflow(has_state=False, same_try=True)),
        (World(accepts_duplicates=True, lookup_lag=30), Airflow(has_state=False, retry_delay=5)),
        (World(unique_lag=60, lookup_lag=60), Airflow(has_state=False, retry_delay=5)),
        (World(), Airflow(has_state=False, own_id=True, renews_id=True)),
        (World(accepts_duplicates=True, lookup_lag=3600), Airflow(has_state=False)),
    ],
    ids=[
        "no record of the same try",
        "retried too soon",
        "retried too soon, unique later",
        "another id in each try",
        "hidden for an hour",
    ],
)
def test_where_neither_refusal_nor_look_up_nor_record_tells_of_the_first_post_it_is_paid_twice(
    world: World, airflow: Airflow
) -> None:
    kling = Kling(world, [KILLED])
    assert live(kling, airflow).task_id == "t-2"
    assert kling.paid == ["t-1", "t-2"]
