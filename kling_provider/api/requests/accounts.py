"""What is asked of an account: deductions, and tasks of the new dialect."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from kling_provider.api.requests.parts import Default, Json, KlingRequest, Part

#: Rows of a page.
MAX_LIMIT = 500
#: Values a filter of ``POST /tasks`` can have.
TASK_FILTERS = {
    "status": ("submitted", "processing", "succeeded", "failed"),
    "product_type": ("video", "image", "try_on"),
}
#: Fewer digits are seconds, which Kling would take for a day in 1970.
_MILLISECOND_DIGITS = range(12, 15)


def _milliseconds(value: str) -> str:
    if not value.isdigit() or len(value) not in _MILLISECOND_DIGITS:
        raise ValueError("is not a time in milliseconds since 1970, such as '1790000000000'; use one")
    return value


Milliseconds = Annotated[str, AfterValidator(_milliseconds)]


class PageRequest(KlingRequest):
    """One page of a time, with the cursor of the page before."""

    start_time: Milliseconds | None = None
    end_time: Milliseconds | None = None
    cursor: str | None = None
    limit: Annotated[int | None, Field(ge=1, le=MAX_LIMIT), Default(MAX_LIMIT)] = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        """``start_time`` is not after ``end_time``."""
        if self.start_time and self.end_time and int(self.start_time) > int(self.end_time):
            raise ValueError(
                f"start_time={self.start_time!r} is after end_time={self.end_time!r}; change them round"
            )
        return self


class BillingRequest(PageRequest):
    """What was deducted (``POST /account/billing/package`` and ``/account/billing/balance``).

    ``filters`` have the keys api_key_name, product_type (video, image, try-on), package_name, package_id.
    """

    filters: Annotated[list[dict[str, Any]] | None, Json] = None


class TaskFilter(Part):
    """Only tasks whose ``key`` has one of the ``values``."""

    key: Literal["status", "product_type"]
    values: Annotated[list[str], Json]

    @model_validator(mode="after")
    def _values_exist(self) -> Self:
        """``status`` is submitted, processing, succeeded or failed; ``product_type`` video, image or try_on."""
        known = TASK_FILTERS[self.key]
        wrong = [value for value in self.values if value not in known]
        if wrong:
            raise ValueError(f"values={wrong} do not exist for {self.key}; use some of {', '.join(known)}")
        return self


class TasksRequest(PageRequest):
    """The tasks of the new dialect (``POST /tasks``), by default of the last 30 days."""

    limit: Annotated[int | None, Field(ge=1, le=MAX_LIMIT), Default(100)] = None
    filters: Annotated[list[TaskFilter] | None, Json] = None
