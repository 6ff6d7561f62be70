"""A submit is sent at most once per run of the machine, whatever is answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api import submitting
from kling_provider.api.errors import Failure, Reaction
from kling_provider.api.submitting import (
    FailedBefore,
    LookUp,
    NotThere,
    Outcome,
    Post,
    Refused,
    Step,
    StillUnclear,
    Submission,
    Submitted,
    Unknown,
)
from kling_provider.api.tasks import KlingTask
from tests.api.properties import promise

ID = "af1-4oymiq-xu6hlswfqjb4pure-qdhlqc5hqyrl"
TASK = KlingTask("1", "image2video", "processing", external_task_id=ID)
FAILED = dataclasses.replace(TASK, status="failed")
MISSING = Failure(Reaction.NOT_FOUND, "Task not found", 1201, 400)
DUPLICATE = Failure(Reaction.BAD_REQUEST, f"External_task_id {ID} already exists", 1201, 400)
CUT = Failure(Reaction.SERVER, "cut")
NEVER_SENT = Failure(Reaction.SERVER, "no route", never_sent=True)
HTML = Failure(Reaction.UNREADABLE, "<html>", None, 502)
BAD = Failure(Reaction.BAD_REQUEST, "no such model", 1201, 400)
SLOTS = Failure(Reaction.CONCURRENCY, "full", 1303, 429)


def submission(
    *, external_id: str | None = ID, can_look_up: bool = True, is_first: bool = True
) -> Submission:
    return Submission(external_task_id=external_id, can_look_up=can_look_up, is_first=is_first)


def posted(machine: Submission, failure: Failure) -> Step | Outcome:
    assert machine.start() == Post()
    return machine.on_post_failure(failure)


@pytest.mark.parametrize(
    ("external_id", "can_look_up", "is_first", "step"),
    [
        (ID, True, True, Post()),
        (ID, True, False, LookUp(0)),
        (ID, False, False, Post()),
        (None, True, False, Post()),
        (None, False, True, Post()),
    ],
)
def test_only_the_first_post_of_all_goes_out_unasked(
    external_id: str | None, can_look_up: bool, is_first: bool, step: Step
):
    assert submission(external_id=external_id, can_look_up=can_look_up, is_first=is_first).start() == step


def test_an_answered_post_is_a_submitted_task():
    machine = submission()
    machine.start()
    assert machine.on_booked(TASK) == Submitted(TASK, "posted")


@pytest.mark.parametrize("failure", [BAD, SLOTS, NEVER_SENT, Failure(Reaction.AUTH, "no", 1002, 401)])
@pytest.mark.parametrize("can_look_up", [True, False])
def test_a_clear_refusal_ends_it(failure: Failure, can_look_up: bool):
    assert posted(submission(can_look_up=can_look_up), failure) == Refused(failure)


@pytest.mark.parametrize("failure", [CUT, HTML])
def test_an_unclear_answer_that_cannot_be_checked_is_unknown(failure: Failure):
    assert posted(submission(can_look_up=False), failure) == Unknown(failure)
    assert posted(submission(external_id=None), failure) == Unknown(failure)


@pytest.mark.parametrize("failure", [CUT, HTML, DUPLICATE])
def test_an_unclear_answer_is_looked_up_three_times_after_growing_pauses(failure: Failure):
    machine = submission()
    steps = [posted(machine, failure), machine.on_lookup_failure(MISSING), machine.on_lookup_failure(CUT)]
    assert steps == [LookUp(pause) for pause in submitting.LOOKUP_PAUSES]
    assert len(set(submitting.LOOKUP_PAUSES)) == 3
    assert list(submitting.LOOKUP_PAUSES) == sorted(submitting.LOOKUP_PAUSES)


@pytest.mark.parametrize(
    ("post", "last_lookup", "outcome"),
    [
        (CUT, MISSING, NotThere(CUT)),
        (HTML, MISSING, NotThere(HTML)),
        (CUT, HTML, StillUnclear(CUT)),
        (CUT, BAD, StillUnclear(CUT)),
        (DUPLICATE, MISSING, Unknown(DUPLICATE)),
        (DUPLICATE, CUT, StillUnclear(DUPLICATE)),
    ],
)
def test_what_three_lookups_could_not_find_is_told_by_what_is_certain(
    post: Failure, last_lookup: Failure, outcome: Outcome
):
    machine = submission()
    posted(machine, post)
    machine.on_lookup_failure(MISSING)
    machine.on_lookup_failure(MISSING)
    assert machine.on_lookup_failure(last_lookup) == outcome


def test_an_unclear_post_that_was_booked_is_found():
    machine = submission()
    posted(machine, CUT)
    machine.on_lookup_failure(MISSING)
    assert machine.on_found(TASK) == Submitted(TASK, "unclear")


def test_a_taken_id_is_the_task_that_existed():
    machine = submission()
    posted(machine, DUPLICATE)
    assert machine.on_found(TASK) == Submitted(TASK, "existed")


def test_a_taken_id_that_cannot_be_looked_up_is_a_refusal():
    assert posted(submission(can_look_up=False), DUPLICATE) == Refused(DUPLICATE)


def test_a_later_attempt_finds_what_the_first_one_booked():
    machine = submission(is_first=False)
    assert machine.start() == LookUp(0)
    assert machine.on_found(TASK) == Submitted(TASK, "existed")


def test_a_later_attempt_posts_only_when_nothing_is_found():
    machine = submission(is_first=False)
    machine.start()
    assert machine.on_lookup_failure(MISSING) == Post()
    assert machine.on_post_failure(CUT) == LookUp(submitting.LOOKUP_PAUSES[0])


@pytest.mark.parametrize("failure", [CUT, HTML, BAD, SLOTS, Failure(Reaction.AUTH, "no")])
def test_a_later_attempt_that_cannot_look_up_sends_nothing(failure: Failure):
    machine = submission(is_first=False)
    machine.start()
    assert machine.on_lookup_failure(failure) == Refused(failure)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_failed_task_is_not_taken_over(is_first: bool):
    machine = submission(is_first=is_first)
    machine.start()
    if is_first:
        machine.on_post_failure(DUPLICATE)
    assert machine.on_found(FAILED) == FailedBefore(FAILED)


@pytest.mark.parametrize("task", [TASK, FAILED])
def test_somebody_elses_task_is_not_taken_over(task: KlingTask):
    machine = submission(is_first=False)
    machine.start()
    outcome = machine.on_found(dataclasses.replace(task, external_task_id="other", request_id="r"))
    assert isinstance(outcome, Unknown)
    assert f"asked for external_task_id {ID}, told of other" in outcome.failure.message
    assert outcome.failure.request_id == "r"


# -- any world at all


class World:
    """A Kling that books or not, answers or not, and shows what it booked sooner or later."""

    def __init__(
        self,
        post: tuple[bool, Failure | None],
        *,
        booked: bool = False,
        blind: int = 0,
        lookups: Sequence[Failure | None] = (),
    ):
        self._post = post
        self._blind = blind
        self._lookups = list(lookups)
        self.booked = int(booked)
        self.posts = 0
        self.lookups = 0
        self.was_unclear = False

    def post(self) -> KlingTask | Failure:
        self.posts += 1
        if self.booked:
            return DUPLICATE
        books, failure = self._post
        if failure is not None and not failure.leaves_submit_unclear:
            return failure
        self.booked += books
        self.was_unclear = failure is not None or not books
        return failure or (TASK if books else CUT)

    def look_up(self) -> KlingTask | Failure:
        self.lookups += 1
        failure = self._lookups.pop(0) if self._lookups else None
        if failure is not None:
            return failure
        if self.lookups <= self._blind:
            return MISSING
        return TASK if self.booked else MISSING


def run(machine: Submission, world: World, checked: Callable[[], None]) -> Outcome:
    step: Step | Outcome = machine.start()
    for _ in range(8):
        if not isinstance(step, Post | LookUp):
            return step
        if isinstance(step, Post):
            answer = world.post()
            step = (
                machine.on_booked(answer)
                if isinstance(answer, KlingTask)
                else machine.on_post_failure(answer)
            )
        else:
            assert step.after >= 0
            answer = world.look_up()
            step = (
                machine.on_found(answer)
                if isinstance(answer, KlingTask)
                else machine.on_lookup_failure(answer)
            )
        checked()
    pytest.fail("it never ended")


post_answers = st.tuples(
    st.booleans(), st.sampled_from([None, CUT, HTML, NEVER_SENT, BAD, SLOTS, MISSING, DUPLICATE])
)
lookup_answers = st.lists(st.sampled_from([None, CUT, HTML, BAD, SLOTS, MISSING]), max_size=7)


@promise
@given(post_answers, lookup_answers, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 4))
def test_in_any_world_one_run_posts_at_most_once_and_ends(
    post: tuple[bool, Failure | None],
    lookups: list[Failure | None],
    can_look_up: bool,
    is_first: bool,
    booked: bool,
    blind: int,
):
    world = World(post, booked=booked, blind=blind, lookups=lookups)

    def checked() -> None:
        assert world.posts <= 1
        assert world.booked <= 1
        assert world.lookups <= 1 + len(submitting.LOOKUP_PAUSES)
        assert can_look_up or world.lookups == 0

    outcome = run(submission(can_look_up=can_look_up, is_first=is_first), world, checked)
    if isinstance(outcome, Submitted):
        assert world.booked == 1
    if world.was_unclear:
        assert not isinstance(outcome, Refused)
        assert can_look_up or isinstance(outcome, Unknown)
    if isinstance(outcome, NotThere):
        assert world.was_unclear
        assert world.lookups >= len(submitting.LOOKUP_PAUSES)


@promise
@given(post_answers, st.booleans(), st.booleans(), st.integers(0, 2))
def test_where_lookups_are_answered_a_booked_task_is_always_found(
    post: tuple[bool, Failure | None], is_first: bool, booked: bool, blind: int
):
    # A later attempt asks once before it posts: what was booked long ago is visible by then.
    world = World(post, booked=booked, blind=blind if is_first else 0)
    outcome = run(submission(is_first=is_first), world, lambda: None)
    if world.booked:
        assert isinstance(outcome, Submitted)
    else:
        assert isinstance(outcome, NotThere if world.was_unclear else Refused | Unknown)


@promise
@given(st.lists(post_answers, min_size=1, max_size=8))
def test_attempt_after_attempt_pays_once_where_tasks_can_be_looked_up(
    posts: list[tuple[bool, Failure | None]],
):
    booked = False
    for number, post in enumerate(posts):
        world = World(post, booked=booked)
        outcome = run(submission(is_first=number == 0), world, lambda: None)
        assert not (booked and world.posts), "it paid again"
        booked = bool(world.booked)
        assert isinstance(outcome, Submitted) is booked
