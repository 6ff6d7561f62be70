"""Which call is answered by whom: the way into this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kling_provider.simulator.asked import Asked
from kling_provider.simulator.calls import deletions, faces, selections
from kling_provider.simulator.calls.desk import WHOLE, Desk
from kling_provider.simulator.results.planned import Planned
from kling_provider.simulator.results.table import plan
from kling_provider.simulator.tasks import SimTask
from kling_provider.simulator.telling import Address, told

#: Does the work and says what is answered.
Answer = Callable[[Desk, Asked], tuple[Planned, ...]]

_ANSWERS: Mapping[str, Answer] = {
    "identify-face": faces.identify_face,
    "multi-elements/init-selection": selections.begin,
    "multi-elements/add-selection": selections.add,
    "multi-elements/delete-selection": selections.delete,
    "multi-elements/clear-selection": selections.clear,
    "multi-elements/preview-selection": selections.preview,
    "delete-elements": deletions.delete_element,
    "delete-voices": deletions.delete_voice,
}
#: Calls that tell less of their task than a query would.
_ONLY: Mapping[str, tuple[str, ...]] = {"image-recognize": ("task_result", "final_unit_deduction")}


def answer(desk: Desk, asked: Asked) -> tuple[Planned, ...]:
    """Do what a call asks for. Calls that are not in the table give results as a task does.

    :raises Refusal: 1201.
    """
    found = _ANSWERS.get(asked.endpoint.name)
    return plan(asked) if found is None else found(desk, asked)


def told_at_once(task: SimTask, skew: float, address: Address) -> dict[str, Any]:
    """The ``data`` of a call's answer.

    :param task: what was booked for it.
    :param skew: seconds the simulated server's clock is ahead.
    :param address: makes the address of a file.
    """
    whole = told(task, skew, address)
    if task.results and task.results[0].planned.list_name == WHOLE:
        data = task.results[0].tell(partial(address, task))
        return {**data, **{name: whole[name] for name in _FILLED_IN if name in data}}
    return {name: whole[name] for name in _ONLY.get(task.endpoint, whole)}


_FILLED_IN = ("task_id", "final_unit_deduction")
