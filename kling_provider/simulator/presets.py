"""Elements and voices that come with Kling, for every account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.api.tasks import SUCCEED
from kling_provider.simulator.results.planned import Planned, Result
from kling_provider.simulator.results.things import KLING, element, voice
from kling_provider.simulator.tasks import Order, SimTask

#: Epoch seconds at which Kling made them.
MADE_AT = 1_772_000_000.0
_FIRST_ID = 829_000_000_000_000_000

_ELEMENTS = {
    "Mei": "a young woman with short black hair",
    "Robot": "a small round robot, white and orange",
    "Corgi": "a corgi with a red collar",
}
_VOICES = ("Sunny girl", "Calm narrator", "Old sailor", "News anchor")


def _presets() -> Iterator[tuple[str, Planned]]:
    for name, description in _ELEMENTS.items():
        yield (
            "advanced-presets-elements",
            element(
                name,
                description,
                "image_refer",
                owner=KLING,
                pictures=[None, None],
                videos=[],
                voice={},
                tags=[{"tag_id": "o_102"}],
            ),
        )
    for name in _VOICES:
        yield "presets-voices", voice(name, owner=KLING)


def _task(number: int, endpoint: str, planned: Planned) -> SimTask:
    order = Order(ENDPOINTS[endpoint], {}, results=(planned,))
    return SimTask(
        task_id=str(_FIRST_ID + number * 2),
        account=KLING,
        gateway="official",
        order=order,
        external_task_id=None,
        created_at=MADE_AT,
        processing_at=MADE_AT,
        ends_at=MADE_AT,
        results=(Result(str(_FIRST_ID + number * 2 + 1), planned),),
        status=SUCCEED,
        updated_at=MADE_AT,
        is_foreign=True,
    )


#: Id of the element or voice -> its task, in the order of the list.
PRESETS: Mapping[str, SimTask] = MappingProxyType(
    {
        task.results[0].id: task
        for number, (endpoint, planned) in enumerate(_presets())
        for task in [_task(number, endpoint, planned)]
    }
)
