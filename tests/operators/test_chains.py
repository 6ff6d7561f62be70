"""A submit whose picture comes from another task: a start before that one is done waits, and pays nothing."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG, task_group

from kling_provider.exceptions import KlingBadRequestError
from kling_provider.operators.adopt import KlingAdoptOperator
from kling_provider.operators.guards import AirflowRescheduleException
from kling_provider.operators.kling import (
    KlingImageToVideoOperator,
    KlingSubmitOperator,
    KlingTextToVideoOperator,
    KlingVirtualTryOnOperator,
)
from kling_provider.simulator.server import SimulatorServer
from tests.operators.test_guards import START, StartedEarly

PERSON = "https://pictures.example/person.jpg"


@pytest.fixture(autouse=True)
def _connected(kling_connection: str) -> None:
    """Every operator here talks to the simulator."""


def looks() -> DAG:
    """A picture of each garment worn, then a video of it, by either operator."""
    with DAG("looks", schedule=None, start_date=START) as dag:

        @task_group
        def look(cloth: str) -> None:
            worn = KlingVirtualTryOnOperator(
                task_id="worn", human_image=PERSON, cloth_image=cloth, wait_for_completion=True
            )
            KlingImageToVideoOperator(
                task_id="typed", image=worn.output["image_url"], check_destination=False
            )
            KlingSubmitOperator(task_id="plain", request=worn.output, check_destination=False)

        look.expand(cloth=["https://pictures.example/1.jpg", "https://pictures.example/2.jpg"])
    return dag


def start(task_id: str, field: str, value: Any, state: str | None) -> None:
    operator = looks().task_dict[f"look.{task_id}"]
    setattr(operator, field, value)
    ti = StartedEarly(operator.task_id, {"look.worn": state}, 1)
    operator.execute({"ti": ti, "task": operator, "task_reschedule_count": 0})


@pytest.mark.parametrize(("task_id", "field"), [("typed", "image"), ("plain", "request")])
@pytest.mark.parametrize("state", ["running", "deferred", None])
def test_a_submit_that_airflow_starts_before_its_picture_is_made_goes_back_to_wait(
    task_id: str, field: str, state: str | None, kling_simulator: SimulatorServer
) -> None:
    with pytest.raises(AirflowRescheduleException):
        start(task_id, field, None, state)
    assert kling_simulator.requests == []


@pytest.mark.parametrize(("task_id", "field"), [("typed", "image"), ("plain", "request")])
def test_a_picture_that_never_came_is_a_mistake(
    task_id: str, field: str, kling_simulator: SimulatorServer
) -> None:
    with pytest.raises(KlingBadRequestError):
        start(task_id, field, None, "failed")
    assert kling_simulator.requests == []


def test_an_adoption_waits_for_the_id_too(kling_simulator: SimulatorServer) -> None:
    with DAG("night", schedule=None, start_date=START) as dag:

        @task_group
        def clip(prompt: str) -> None:
            made = KlingTextToVideoOperator(task_id="made", prompt=prompt)
            KlingAdoptOperator(task_id="adopt", kling_task_id=made.output)

        clip.expand(prompt=["a", "b"])
    operator = dag.task_dict["clip.adopt"]
    operator.kling_task_id = None
    ti = StartedEarly("clip.adopt", {"clip.made": "running"}, 1)
    with pytest.raises(AirflowRescheduleException):
        operator.execute({"ti": ti, "task": operator, "task_reschedule_count": 0})
    assert kling_simulator.requests == []


def test_a_picture_that_is_there_is_not_waited_for(kling_simulator: SimulatorServer) -> None:
    start("typed", "image", PERSON, "running")
    assert [task.body["image"] for task in kling_simulator.tasks] == [PERSON]
