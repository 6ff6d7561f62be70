"""What can be turned at the simulator while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kling_provider.api.endpoints import ENDPOINTS

Seconds = Annotated[float, Field(ge=0)]


class Knobs(BaseModel):
    """A frozen set of values given by name; an unknown name is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Any:
        """Check ``values``.

        :raises ValueError: naming each wrong value, and what is known.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            wrong = [
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
                for item in error.errors(include_url=False)
            ]
            raise ValueError(f"{'; '.join(wrong)}. Known: {', '.join(cls.model_fields)}.") from None


class Settings(Knobs):
    """How this Kling behaves.

    :param speed: how many simulated seconds of work fit into a real one.
    :param task_seconds: how long a task works, in simulated seconds; a number, or one per endpoint.
        Without it, the endpoint's usual time, give or take 10 %.
    :param concurrency: slots per account and kind.
    :param balance_units: video units the account has in all; more is refused with 1102. None: never used up.
    :param image_units: the same for its image units, which pay for pictures only.
    :param pays_with: what the account is billed by: units of a ``package``, or money of its ``balance``.
    :param price_factor: what a task costs, as a multiple of the published price.
    :param list_order: order of the list answers, which Kling does not document.
    :param lookup_lag: real seconds until a new task can be found by external id or in the list.
    :param query_lag: real seconds until a new task can be found by its own id.
    :param unique_lag: real seconds until a second create with the same external id is noticed.
    :param accepts_duplicates: never notice it.
    :param reuses_failed_id: let the external id of a failed task be used again.
    :param tasks_see_classic: let ``GET /tasks`` of the new dialect tell tasks of the classic one.
    :param batch_limit: ids that one ``GET /tasks`` may ask for, which Kling does not document.
    :param drops_external_id: swallow external_task_id; None: as the gateway does (dmxapi does).
    :param localised_messages: answer errors in Chinese.
    :param refuses_retired: refuse models that are being retired.
    :param validate_requests: ``off`` takes what our tables do not know, as a Kling that has moved on would.
    :param ignores_unknown_fields: pass over fields that are not in the documents, at every endpoint and in every
        object of a request, as many APIs do; all other rules stay. What Kling does is not documented.
    :param session_seconds: real seconds a session of identify-face or init-selection lives.
    :param clock_skew: seconds this server's clock is ahead of ours: in checking tokens and in all it tells.
    :param url_ttl: real seconds a result's address is good for after it was told; None: as the result.
    :param result_ttl: real seconds a result is kept after it was made; None: the gateway's days.
    :param resigns_addresses: sign a result's address anew each time it is told, as Kling does; every second time
        under another host, where this server is reached at 127.0.0.1 or localhost. All are good until they end.
    """

    speed: Annotated[float, Field(gt=0)] = 20
    task_seconds: Seconds | dict[str, Seconds] | None = None
    concurrency: Annotated[int, Field(ge=0)] = 20
    balance_units: Decimal | None = None
    image_units: Decimal | None = None
    pays_with: Literal["package", "balance"] = "package"
    price_factor: Annotated[Decimal, Field(gt=0)] = Decimal(1)
    list_order: Literal["newest", "oldest", "shuffled"] = "newest"
    lookup_lag: Seconds = 0
    query_lag: Seconds = 0
    unique_lag: Seconds = 0
    accepts_duplicates: bool = False
    reuses_failed_id: bool = False
    tasks_see_classic: bool = True
    batch_limit: Annotated[int, Field(ge=1)] = 50
    drops_external_id: bool | None = None
    localised_messages: bool = False
    refuses_retired: bool = False
    validate_requests: Literal["strict", "warn", "off"] = "strict"
    ignores_unknown_fields: bool = False
    session_seconds: Seconds = 86400
    clock_skew: float = 0
    url_ttl: Seconds | None = None
    result_ttl: Seconds | None = None
    resigns_addresses: bool = False

    def units_of(self, pack: str) -> Decimal | None:
        """What a pack has in all, None where it is never used up."""
        return self.image_units if pack == "image" else self.balance_units

    @property
    def usual_seconds(self) -> float | None:
        """How long a task takes in real seconds, if it is not as long as the vendor's."""
        told = self.task_seconds
        if told is None and self.speed == 1:
            return None
        usual = ENDPOINTS["image2video"].typical_seconds if told is None or isinstance(told, dict) else told
        return max(0.1, round(usual / self.speed, 2))


class Script(Knobs):
    """What becomes of the next task.

    :param outcome: ``succeed``; ``fail``; ``stuck`` (runs for ever); ``vanish`` (cannot be found);
        ``no_result`` (succeeds without one); ``unknown_word`` (works under a status nobody knows).
    :param message: Kling's reason, for ``fail``.
    :param word: the status, for ``unknown_word``.
    :param seconds: how long it works, in simulated seconds.
    :param vanish_seconds: real seconds it cannot be found, for ``vanish``; None: for ever.
    :param videos: how many videos it makes.
    :param endpoint: only for a task of this endpoint; what is answered at once has to be named.
    :param times: for how many tasks.
    """

    outcome: Literal["succeed", "fail", "stuck", "vanish", "no_result", "unknown_word"] = "succeed"
    message: str = "Failure to pass the risk control system"
    word: str = "queueing"
    seconds: Seconds | None = None
    vanish_seconds: Seconds | None = None
    videos: Annotated[int, Field(ge=1, le=9)] = 1
    endpoint: str | None = None
    times: Annotated[int, Field(ge=1)] = 1
