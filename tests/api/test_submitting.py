"""A submit is paid once: the rules one by one, then any answers at all, in strong and in weak worlds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_provider.api import submitting
from kling_provider.api.endpoints import MAX_PAGE_SIZE
from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.submitting import (
    EARLIER_TRY,
    EXISTS_PAUSES,
    LOOKUP_PAUSES,
    MOST_POSTS,
    REFUSAL_PAUSES,
    SETTLE_SECONDS,
    CheckList,
    LookUp,
    Memory,
    NotThere,
    OtherRequest,
    Outcome,
    PerhapsTwice,
    Post,
    Refused,
    Step,
    StillUnclear,
    Submission,
    Submitted,
    Unknown,
    UsedUp,
)
from kling_provider.api.tasks import KlingTask, TaskList
from tests.api.properties import promise

NOW = 1790000000.0
ID = "af1-4oymiq-xu6hlswfqjb4pure-qdhlqc5hqyrl"
TASK = KlingTask("1", "image2video", "processing", external_task_id=ID)
FAILED = replace(TASK, status="failed")
ANOTHER = replace(TASK, task_id="2", external_task_id="theirs")
NAMELESS = replace(TASK, task_id="3", external_task_id=None, created_at=datetime.fromtimestamp(NOW, UTC))

CUT = Failure(Reaction.SERVER, "cut")
TIMED_OUT = Failure(Reaction.SERVER, "nothing was heard", timed_out=True)
HTML = Failure(Reaction.UNREADABLE, "<html>", None, 502)
NEVER_SENT = Failure(Reaction.SERVER, "no route", never_sent=True)
MISSING = Failure(Reaction.NOT_FOUND, "Task not found", 1201, 400)
DUPLICATE = Failure(Reaction.BAD_REQUEST, f"External_task_id {ID} already exists", 1201, 400)
LOCALISED = Failure(Reaction.BAD_REQUEST, f"external_task_id {ID} 已存在", 1201, 400)
BAD = Failure(Reaction.BAD_REQUEST, "no such model", 1201, 400)
SLOTS = Failure(Reaction.CONCURRENCY, "full", 1303, 429)
PACE = Failure(Reaction.RATE, "too fast", 1302, 429)
EXPIRED = Failure(Reaction.RESIGN, "the token has expired", 1004, 401)
REJECTED = Failure(Reaction.AUTH, "no", 1002, 401)
ARREARS = Failure(Reaction.ACCOUNT, "no", 1102, 429)

UNCLEAR = [CUT, TIMED_OUT, HTML]
REFUSALS = [BAD, SLOTS, PACE, REJECTED, ARREARS, Failure(Reaction.CONTENT_POLICY, "no", 1301, 400)]


@pytest.fixture(autouse=True)
def _real_pauses(monkeypatch: pytest.MonkeyPatch, _no_time_lost: None) -> None:
    """No time is spent here; so the pauses are those that users get."""
    monkeypatch.setattr(submitting, "SETTLE_SECONDS", SETTLE_SECONDS)
    monkeypatch.setattr(submitting, "LOOKUP_PAUSES", LOOKUP_PAUSES)
    monkeypatch.setattr(submitting, "EXISTS_PAUSES", EXISTS_PAUSES)
    monkeypatch.setattr(submitting, "REFUSAL_PAUSES", REFUSAL_PAUSES)


def submission(**options: Any) -> Submission:
    return Submission(**{"external_task_id": ID, "can_look_up": True, "is_first": True} | options)


def page_of(tasks: Sequence[KlingTask], left_out: int = 0) -> TaskList:
    page = TaskList(tasks)
    page.left_out = left_out or getattr(tasks, "left_out", 0)
    return page


def answer(machine: Submission, step: Step, said: Any) -> Step | Outcome:
    """Tell the machine what came of a step."""
    match step, said:
        case Post(), KlingTask():
            return machine.on_booked(said)
        case Post(), _:
            return machine.on_post_failure(said)
        case LookUp(), KlingTask():
            return machine.on_found(said)
        case LookUp(), _:
            return machine.on_lookup_failure(said)
        case _:
            return machine.on_listed(None if said is None else page_of(said), NOW)


def after(machine: Submission, *answers: Any) -> Step | Outcome:
    """What follows on these answers."""
    step: Step | Outcome = machine.start()
    for said in answers:
        assert isinstance(step, Step), f"it ended with {step} before {said}"
        step = answer(machine, step, said)
    return step


def looks(machine: Submission, *answers: Any, saying: Any = MISSING) -> tuple[list[float], Step | Outcome]:
    """The pauses of all look-ups that follow, each answered the same; and what comes then."""
    step, pauses = after(machine, *answers), []
    while isinstance(step, LookUp):
        pauses.append(step.after)
        step = machine.on_lookup_failure(saying)
    return pauses, step


def settled(*, timed_out: bool = False) -> list[Any]:
    """A lost POST that no look-up finds; the list is asked for next."""
    return [TIMED_OUT if timed_out else CUT] + [MISSING] * 4


# -- the first POST


@pytest.mark.parametrize(
    ("options", "step"),
    [
        ({}, Post()),
        ({"is_first": False}, LookUp()),
        ({"is_first": False, "may_be_booked": False}, LookUp()),
        ({"memory": Memory(refusals=1)}, LookUp()),
        ({"can_look_up": False}, Post()),
        ({"can_look_up": False, "is_first": False}, Post()),
        ({"external_task_id": None}, Post()),
    ],
)
def test_only_the_first_post_of_all_goes_out_unasked(options: dict[str, Any], step: Step):
    assert submission(**options).start() == step


@pytest.mark.parametrize("echo", [ID, None, "theirs"])
def test_an_answered_first_post_is_a_submitted_task(echo: str | None):
    task = replace(TASK, external_task_id=echo)
    assert after(submission(), task) == Submitted(task, "posted")


@pytest.mark.parametrize("failure", [*REFUSALS, NEVER_SENT])
@pytest.mark.parametrize("can_look_up", [True, False])
def test_a_refusal_of_the_first_post_is_believed_at_once(failure: Failure, can_look_up: bool):
    assert after(submission(can_look_up=can_look_up), failure) == Refused(failure)


@pytest.mark.parametrize("failure", UNCLEAR)
@pytest.mark.parametrize("options", [{"can_look_up": False}, {"external_task_id": None}])
def test_an_unclear_answer_that_cannot_be_looked_up_is_unknown(failure: Failure, options: dict[str, Any]):
    assert after(submission(**options), failure) == Unknown(failure)


def test_a_taken_id_that_cannot_be_looked_up_is_a_refusal():
    assert after(submission(can_look_up=False), DUPLICATE) == Refused(DUPLICATE)


# -- an unclear answer


@pytest.mark.parametrize(
    ("failure", "settle", "pauses"),
    [
        (CUT, None, [0, 15, 10, 20]),
        (HTML, None, [0, 15, 10, 20]),
        (TIMED_OUT, None, [0, 60, 10, 20]),
        (CUT, (7.0, 8.0), [0, 7, 10, 20]),
        (TIMED_OUT, (7.0, 8.0), [0, 8, 10, 20]),
    ],
)
def test_an_unclear_answer_is_looked_up_at_once_settles_and_is_looked_up_three_times_more(
    failure: Failure, settle: tuple[float, float] | None, pauses: list[float]
):
    assert looks(submission(settle=settle), failure) == (pauses, CheckList())


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("saying", [MISSING, CUT, REJECTED])
def test_an_unclear_post_that_was_booked_is_found_at_any_look_up(before: int, saying: Failure):
    assert after(submission(), CUT, *[saying] * before, TASK) == Submitted(TASK, "unclear")


def test_what_is_found_nowhere_is_sent_again_with_the_same_id():
    assert after(submission(), *settled(), []) == Post()
    assert after(submission(), *settled(), [], TASK) == Submitted(TASK, "posted")


def test_after_three_lost_posts_it_is_left_to_a_retry():
    assert MOST_POSTS == 3
    lost = [*settled(), [], *settled(timed_out=True), []]
    assert after(submission(), *lost, HTML, *[MISSING] * 4) == NotThere(HTML)


@pytest.mark.parametrize("failure", [CUT, HTML, SLOTS, PACE, REJECTED, BAD])
def test_a_last_look_up_without_an_answer_leaves_it_unclear(failure: Failure):
    assert after(submission(), CUT, MISSING, MISSING, MISSING, failure) == StillUnclear(CUT)


def test_a_look_up_after_the_settling_counts_whatever_the_earlier_ones_said():
    assert after(submission(), CUT, HTML, HTML, HTML, MISSING) == CheckList()


# -- the id exists


def test_a_task_that_exists_is_looked_for_for_five_minutes():
    assert sum(EXISTS_PAUSES) == 300
    assert looks(submission(), DUPLICATE) == ([0, *EXISTS_PAUSES], Unknown(DUPLICATE))
    assert looks(submission(), LOCALISED) == ([0, *EXISTS_PAUSES], Unknown(LOCALISED))


def test_a_task_that_exists_and_cannot_be_asked_for_is_left_to_a_retry():
    assert looks(submission(), DUPLICATE, saying=CUT)[1] == StillUnclear(DUPLICATE)


@pytest.mark.parametrize("before", range(7))
def test_a_taken_id_is_the_task_that_existed(before: int):
    assert after(submission(), DUPLICATE, *[MISSING] * before, TASK) == Submitted(TASK, "existed")


def test_a_taken_id_after_a_lost_post_is_that_post():
    assert looks(submission(), *settled(), [], DUPLICATE) == ([0, *EXISTS_PAUSES], Unknown(DUPLICATE))
    assert after(submission(), *settled(), [], DUPLICATE, TASK) == Submitted(TASK, "unclear")


# -- a refusal of a repeated POST


@pytest.mark.parametrize(
    ("failure", "after_a_lost_post", "after_an_earlier_try"),
    [
        (BAD, [0, *EXISTS_PAUSES], list(REFUSAL_PAUSES)),
        *((failure, [0], [0]) for failure in REFUSALS if failure is not BAD and failure.code != 1301),
    ],
)
def test_a_refusal_of_a_repeated_post_is_believed_after_look_ups_only(
    failure: Failure, after_a_lost_post: list[float], after_an_earlier_try: list[float]
):
    lost = [*settled(), [], failure]
    assert looks(submission(), *lost) == (after_a_lost_post, Refused(failure))
    assert looks(submission(), *lost, saying=CUT)[1] == StillUnclear(failure)
    assert after(submission(), *lost, TASK) == Submitted(TASK, "unclear")
    retry = [MISSING, [], failure]
    assert looks(submission(is_first=False), *retry) == (after_an_earlier_try, Refused(failure))
    assert after(submission(is_first=False), *retry, TASK) == Submitted(TASK, "existed")


def test_a_refusal_is_believed_where_a_record_shows_that_nothing_was_sent():
    assert after(submission(is_first=False, may_be_booked=False), MISSING, BAD) == Refused(BAD)


def test_a_repeated_post_that_never_left_needs_no_look_up():
    assert after(submission(), *settled(), [], NEVER_SENT) == Refused(NEVER_SENT)
    assert after(submission(is_first=False), MISSING, [], NEVER_SENT) == Refused(NEVER_SENT)


# -- slots and tokens


def test_refusals_for_want_of_a_slot_are_counted_those_of_look_ups_too():
    machine = submission()
    after(machine, SLOTS)
    assert machine.memory.refusals == 1
    waiting = submission(memory=machine.memory)
    assert after(waiting, MISSING, PACE) == Refused(PACE)
    assert waiting.memory.refusals == 2
    assert after(submission(memory=waiting.memory), MISSING) == Post()
    asking = submission(is_first=False, memory=waiting.memory)
    assert after(asking, PACE) == Refused(PACE)
    assert asking.memory.refusals == 3


def test_a_token_that_ended_is_signed_anew_once_after_a_look_up():
    assert after(submission(), EXPIRED) == LookUp()
    assert after(submission(), EXPIRED, MISSING) == Post(fresh=True)
    assert after(submission(), EXPIRED, MISSING, TASK) == Submitted(TASK, "posted")
    assert after(submission(), EXPIRED, MISSING, EXPIRED) == Refused(EXPIRED)
    assert after(submission(), EXPIRED, TASK) == Submitted(TASK, "existed")
    assert after(submission(), EXPIRED, CUT) == Refused(EXPIRED)
    assert after(submission(can_resign=False), EXPIRED) == Refused(EXPIRED)


def test_a_token_that_ended_after_a_lost_post_leaves_that_in_doubt():
    lost = [*settled(), []]
    assert after(submission(), *lost, EXPIRED, MISSING) == Post(fresh=True)
    assert after(submission(), *lost, EXPIRED, CUT) == StillUnclear(EXPIRED)
    assert looks(submission(), *lost, EXPIRED, MISSING, EXPIRED) == ([0], Refused(EXPIRED))


def test_a_token_that_ended_is_signed_anew_once_where_nothing_can_be_looked_up():
    assert after(submission(can_look_up=False), EXPIRED) == Post(fresh=True)
    assert after(submission(can_look_up=False), EXPIRED, EXPIRED) == Refused(EXPIRED)
    assert after(submission(can_look_up=False, can_resign=False), EXPIRED) == Refused(EXPIRED)


# -- a later try


def test_a_later_try_finds_what_an_earlier_one_booked():
    assert after(submission(is_first=False), TASK) == Submitted(TASK, "existed")


@pytest.mark.parametrize(
    ("may_be_booked", "step"), [(None, CheckList()), (True, CheckList()), (False, Post())]
)
def test_a_later_try_looks_at_the_list_unless_nothing_can_have_been_sent(
    may_be_booked: bool | None, step: Step
):
    assert after(submission(is_first=False, may_be_booked=may_be_booked), MISSING) == step


@pytest.mark.parametrize("failure", [*UNCLEAR, *REFUSALS])
def test_a_later_try_that_cannot_look_up_sends_nothing(failure: Failure):
    assert after(submission(is_first=False), failure) == Refused(failure)


def test_a_task_is_used_up_when_it_has_failed():
    assert after(submission(is_first=False), FAILED) == UsedUp(FAILED)
    assert after(submission(), DUPLICATE, FAILED) == UsedUp(FAILED)
    assert after(submission(), CUT, FAILED) == UsedUp(FAILED)
    assert after(submission(is_first=False), MISSING, [FAILED]) == UsedUp(FAILED)


def test_what_an_earlier_try_sent_before_it_died_is_given_time_to_settle():
    def later() -> Submission:
        return submission(is_first=False, may_be_booked=True, settle=(15, 60), sent_ago=47.5)

    assert after(later(), MISSING) == LookUp(12.5)
    assert after(later(), MISSING, MISSING) == CheckList()
    assert after(later(), MISSING, TASK) == Submitted(TASK, "existed")
    assert after(later(), TASK) == Submitted(TASK, "existed")  # nobody waits for what is there


def test_after_a_pause_an_earlier_try_s_submit_is_looked_up_anew():
    before = submission(is_first=False, may_be_booked=True, settle=(15, 60), sent_ago=47.5)
    assert after(before, MISSING) == LookUp(12.5)
    assert after(resumed(before, settle=(15, 60), sent_ago=61), MISSING) == CheckList()


@pytest.mark.parametrize("echo", ["theirs", None])
@pytest.mark.parametrize("status", ["processing", "failed"])
def test_a_task_that_does_not_echo_our_id_is_not_taken_over(echo: str | None, status: str):
    told = replace(TASK, external_task_id=echo, status=status, request_id="r")
    outcome = after(submission(is_first=False), told)
    assert isinstance(outcome, Unknown)
    assert f"asked for external_task_id {ID}, told of {echo}" in outcome.failure.message
    assert outcome.failure.request_id == "r"


# -- the list


def old(task: KlingTask) -> KlingTask:
    return replace(task, created_at=datetime.fromtimestamp(NOW - 1, UTC))


@pytest.mark.parametrize(
    "page", [None, [], [ANOTHER], [ANOTHER, NAMELESS], [old(NAMELESS)], [replace(NAMELESS, status="failed")]]
)
@pytest.mark.parametrize("options", [{}, {"is_first": False}])
def test_a_list_that_shows_nothing_of_ours_lets_it_be_sent(options: dict[str, Any], page: Any):
    before = [MISSING] if options else settled()
    assert after(submission(**options), *before, page) == Post()


def test_the_list_shows_our_task_where_the_look_up_did_not():
    assert after(submission(), *settled(), [ANOTHER, NAMELESS, TASK]) == Submitted(TASK, "unclear")
    assert after(submission(is_first=False), MISSING, [ANOTHER, TASK]) == Submitted(TASK, "existed")


def test_the_list_shows_that_no_ids_are_kept():
    page = [replace(NAMELESS, task_id=str(number), request_id="r") for number in range(4)]
    for outcome in (
        after(submission(), *settled(), page),
        after(submission(is_first=False), MISSING, page),
        after(submission(), *settled(), [replace(task, created_at=None) for task in page]),
    ):
        assert isinstance(outcome, Unknown)
        assert "may be task 0 or 1 or 2" in outcome.failure.message
        assert outcome.failure.request_id == "r"


def test_the_list_shows_what_an_earlier_try_asked_for():
    machine = submission(is_first=False, other_request=lambda external_id: external_id == "theirs")
    assert after(machine, MISSING, [NAMELESS, ANOTHER]) == OtherRequest(ANOTHER)


@pytest.mark.parametrize("other_request", [None, lambda _: False])
def test_other_requests_are_no_matter_where_they_are_allowed(other_request: Any):
    assert after(submission(is_first=False, other_request=other_request), MISSING, [ANOTHER]) == Post()


def test_an_earlier_request_whose_task_has_failed_is_no_matter():
    machine = submission(is_first=False, other_request=lambda _: True)
    assert after(machine, MISSING, [replace(ANOTHER, status="failed")]) == Post()


@pytest.mark.parametrize("page", [None, [], [ANOTHER]])
def test_a_second_post_whose_answer_does_not_show_the_id_may_be_the_second_payment(page: Any):
    told = replace(TASK, external_task_id=None)
    assert after(submission(), *settled(), page, told) == PerhapsTwice(told, CUT)


@pytest.mark.parametrize(
    ("page", "is_ruled_out"),
    [
        (None, False),
        ([NAMELESS, ANOTHER], False),
        ([], True),
        ([ANOTHER], True),
        ([old(NAMELESS)], True),
        ([old(NAMELESS)] * MAX_PAGE_SIZE, False),  # ours may stand on the next page
        (page_of([old(NAMELESS)] * (MAX_PAGE_SIZE - 1), left_out=1), False),
        (page_of([old(NAMELESS)], left_out=1), True),
    ],
)
def test_a_later_try_s_post_may_be_the_second_payment_unless_the_list_rules_it_out(
    page: Any, is_ruled_out: bool
):
    told = replace(TASK, external_task_id=None)
    expected = Submitted(told, "posted") if is_ruled_out else PerhapsTwice(told, EARLIER_TRY)
    assert after(submission(is_first=False), MISSING, page, told) == expected
    assert after(submission(is_first=False), MISSING, page, TASK) == Submitted(TASK, "posted")


# -- a pause that gives the worker back


def test_what_a_pause_remembers_is_plain_and_complete():
    failure = replace(TIMED_OUT, code=5002, http_status=504, request_id="r")
    memory = Memory(2, 3, "settling", 4, failure, may_be_booked=True, fail_no=5, posted_at=6.0)
    assert Memory.from_dict(json.loads(json.dumps(memory.to_dict()))) == memory
    assert Memory.from_dict(Memory().to_dict()) == Memory()


def resumed(machine: Submission, **options: Any) -> Submission:
    """The same submit in another process, from plain values."""
    plain = json.loads(json.dumps(machine.memory.to_dict()))
    return submission(**options, memory=Memory.from_dict(plain))


def test_a_settling_goes_on_where_it_was_paused():
    machine = submission()
    assert after(machine, TIMED_OUT, MISSING) == LookUp(60)
    again = resumed(machine)
    assert again.start() == LookUp()
    assert again.on_lookup_failure(MISSING) == LookUp(10)
    assert again.on_lookup_failure(MISSING) == LookUp(20)
    assert again.on_lookup_failure(MISSING) == CheckList()


# -- any answers at all

POST_ANSWERS = [
    TASK,
    replace(TASK, external_task_id=None),
    *UNCLEAR,
    *REFUSALS,
    NEVER_SENT,
    EXPIRED,
    DUPLICATE,
]
LOOKUP_ANSWERS = [MISSING, MISSING, MISSING, TASK, FAILED, ANOTHER, CUT, HTML, SLOTS, REJECTED, BAD]
PAGES: list[Any] = [None, [], [TASK], [FAILED], [ANOTHER], [NAMELESS], [ANOTHER, NAMELESS]]


@dataclass(frozen=True)
class Answers:
    """What is said to each kind of step, in turn; at last the same for ever."""

    posts: Sequence[Any]
    lookups: Sequence[Any]
    pages: Sequence[Any]

    def to(self) -> Callable[[Step], Any]:
        said: dict[type, Iterator[Any]] = {
            Post: _for_ever(self.posts),
            LookUp: _for_ever(self.lookups),
            CheckList: _for_ever(self.pages),
        }
        return lambda step: next(said[type(step)])


def _for_ever(answers: Sequence[Any]) -> Iterator[Any]:
    yield from answers
    while True:
        yield answers[-1]


any_answers = st.builds(
    Answers,
    posts=st.lists(st.sampled_from(POST_ANSWERS), min_size=1, max_size=8),
    lookups=st.lists(st.sampled_from(LOOKUP_ANSWERS), min_size=1, max_size=8),
    pages=st.lists(st.sampled_from(PAGES), min_size=1, max_size=3),
)
options_of_a_try = st.fixed_dictionaries(
    {
        "is_first": st.booleans(),
        "can_look_up": st.sampled_from([True, True, True, False]),
        "can_resign": st.booleans(),
        "may_be_booked": st.sampled_from([None, True, False]),
    }
).map(lambda it: it | {"may_be_booked": False if it["is_first"] else it["may_be_booked"]})


def trace(options: dict[str, Any], answers: Answers, *, pausing: bool = False) -> tuple[list[Any], Outcome]:
    """Every step with its answer, and the outcome."""
    machine, say = submission(**options), answers.to()
    step, steps = machine.start(), list[Any]()
    while isinstance(step, Step):
        assert len(steps) < 60, "it never ends"
        if pausing and isinstance(step, LookUp):
            machine = resumed(machine, **options)
            assert isinstance(machine.start(), LookUp)
        said = say(step)
        steps.append((step, said))
        step = answer(machine, step, said)
    return steps, step


@promise
@given(options_of_a_try, any_answers)
def test_whatever_is_answered_it_ends_and_sends_no_more_than_it_may(
    options: dict[str, Any], answers: Answers
):
    steps, outcome = trace(options, answers)
    posts = [step for step, _ in steps if isinstance(step, Post)]
    assert len(posts) <= (MOST_POSTS if options["can_look_up"] else 1) + options["can_resign"]
    assert sum(post.fresh for post in posts) <= options["can_resign"]
    assert options["can_look_up"] or len(steps) == len(posts)
    if isinstance(outcome, Submitted) and outcome.how != "posted":
        assert outcome.task is TASK


@promise
@given(options_of_a_try.filter(lambda options: options["can_look_up"]), any_answers)
def test_whatever_is_answered_nothing_is_sent_again_unasked(options: dict[str, Any], answers: Answers):
    steps, _ = trace(options, answers)
    for number, (step, _) in enumerate(steps):
        if not isinstance(step, Post) or (number == 0 and options["is_first"]):
            continue
        asked = [(step, said) for step, said in steps[:number] if not isinstance(step, CheckList)]
        assert asked[-1][1] is MISSING, "the last word on it was not that it is not there"
        unclear = [at for at, (step, said) in enumerate(steps[:number]) if said in UNCLEAR and step == Post()]
        if unclear:
            since = steps[unclear[-1] :]
            waited = sum(step.after for step, _ in since[: number - unclear[-1]] if isinstance(step, LookUp))
            timed_out = since[0][1].timed_out
            assert waited >= SETTLE_SECONDS[timed_out] + sum(LOOKUP_PAUSES)
            assert any(isinstance(step, CheckList) for step, _ in since[: number - unclear[-1]])
        if options["may_be_booked"] or (options["may_be_booked"] is None and not options["is_first"]):
            assert any(isinstance(step, CheckList) for step, _ in steps[:number])


@promise
@given(options_of_a_try, any_answers.filter(lambda answers: answers.posts.count(EXPIRED) <= 1))
def test_a_submit_that_is_paused_at_any_look_up_ends_the_same(options: dict[str, Any], answers: Answers):
    answers = replace(answers, posts=[*answers.posts, CUT])
    assert trace(options, answers, pausing=True) == trace(options, answers)


# -- any world (tests/hooks/test_submit_worlds.py has more of them, with the record and the walk)

fewer = settings(promise, max_examples=60)


@dataclass
class World:
    """A Kling with a clock that books or not, answers or not, and shows what it booked sooner or later.

    :param lookup_lag: seconds until a task can be found, by look-up or in the list.
    :param accepts_duplicates: a second create with the same id is booked too.
    :param drops_id: it is not kept.
    :param has_list: the list can be had.
    """

    lookup_lag: float = 0
    accepts_duplicates: bool = False
    drops_id: bool = False
    has_list: bool = True
    now: float = NOW
    tasks: list[KlingTask] = field(default_factory=list)

    @property
    def paid(self) -> list[KlingTask]:
        return [task for task in self.tasks if task.status != "failed"]

    def answer(self, step: Step, fault: Fault) -> Any:
        if fault.fails:
            self.tasks = [replace(task, status="failed") for task in self.tasks]
        match step:
            case Post():
                self.now += 60 if fault.failure is TIMED_OUT else 1
                said = self._book() if fault.books else fault.failure or CUT
                return fault.failure or said
            case LookUp(pause):
                self.now += pause + 1
                found = [task for task in self._visible() if task.external_task_id == ID]
                return fault.lookup or (found[-1] if found else MISSING)
            case _:
                return self._visible() if self.has_list and not fault.lookup else None

    def _book(self) -> KlingTask | Failure:
        if not self.accepts_duplicates and any(task.external_task_id == ID for task in self.tasks):
            return DUPLICATE
        echo, booked_at = None if self.drops_id else ID, datetime.fromtimestamp(self.now, UTC)
        task = replace(TASK, task_id=str(len(self.tasks)), external_task_id=echo, created_at=booked_at)
        self.tasks.append(task)
        return task

    def _visible(self) -> list[KlingTask]:
        return [
            task
            for task in self.tasks
            if task.created_at and self.now - task.created_at.timestamp() >= self.lookup_lag
        ]


@dataclass(frozen=True)
class Fault:
    """What goes wrong at one step; ``killed`` before it or after it, whereupon the next try begins."""

    books: bool = True
    failure: Failure | None = None
    lookup: Failure | None = None
    killed: str = ""
    fails: bool = False


any_faults = st.lists(
    st.builds(
        Fault,
        books=st.booleans(),
        failure=st.sampled_from([None, CUT, TIMED_OUT, HTML]),
        lookup=st.sampled_from([None, None, CUT, HTML]),
        killed=st.sampled_from(["", "", "", "before", "after"]),
        fails=st.sampled_from([False, False, False, True]),
    ),
    max_size=8,
)


def live(world: World, faults: list[Fault]) -> Outcome:
    """One try after the other, five minutes apart, until one has an answer that a retry would not change."""
    faults = list(faults)
    for number in range(20):
        outcome = one_try(world, faults, is_first=number == 0)
        if isinstance(outcome, Submitted | Unknown | PerhapsTwice | UsedUp):
            return outcome
        world.now += 300
    pytest.fail("it never ends")


def one_try(world: World, faults: list[Fault], *, is_first: bool) -> Outcome | None:
    machine = submission(is_first=is_first)
    step: Step | Outcome = machine.start()
    while isinstance(step, Step):
        fault = faults.pop(0) if faults else Fault()
        if fault.killed == "before":
            return None
        said = world.answer(step, fault)
        if fault.killed == "after":
            return None
        step = answer(machine, step, said)
    return step


@pytest.mark.parametrize(
    "world",
    [
        {},
        {"accepts_duplicates": True},
        {"has_list": False},
        {"lookup_lag": 250},
        {"lookup_lag": sum(LOOKUP_PAUSES), "accepts_duplicates": True},
    ],
    ids=str,
)
@fewer
@given(faults=any_faults)
def test_attempt_after_attempt_pays_for_one_task_and_ends_with_it(world: dict[str, Any], faults: list[Fault]):
    kling = World(**world)
    outcome = live(kling, faults)
    assert isinstance(outcome, Submitted | UsedUp)
    assert [task.task_id for task in kling.paid] == (
        [outcome.task.task_id] if isinstance(outcome, Submitted) else []
    )


@pytest.mark.parametrize(
    "world",
    [{"lookup_lag": 3600}, {"drops_id": True}, {"drops_id": True, "has_list": False}],
    ids=str,
)
@fewer
@given(faults=any_faults)
def test_where_that_cannot_be_done_it_is_told(world: dict[str, Any], faults: list[Fault]):
    kling = World(**world)
    outcome = live(kling, faults)
    assert len(kling.paid) <= 1 or isinstance(outcome, PerhapsTwice | Unknown)


def test_a_kling_that_hides_tasks_longer_than_is_waited_and_takes_an_id_twice_is_paid_twice():
    """The boundary of what can be promised: neither uniqueness nor look-up nor list tell of the first POST."""
    kling = World(lookup_lag=sum(LOOKUP_PAUSES) + 60, accepts_duplicates=True)
    assert isinstance(live(kling, [Fault(failure=CUT)]), Submitted)
    assert len(kling.paid) == 2
