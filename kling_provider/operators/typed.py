"""What every typed operator is: a submit operator whose request is made of its own arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kling_provider.api.requests import REQUESTS
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.operators.submit import KlingSubmitOperator

_COMMON_TEMPLATES = ("external_task_id", "idempotency_key", "kling_conn_id")


class KlingTypedOperator(KlingSubmitOperator):
    """A submit operator for one endpoint, whose request is made of its own arguments.

    A subclass names its :attr:`kling_endpoint` and has the fields of that endpoint's request model as keyword
    arguments, for editors and for ``expand()``. The rest follows from the model: all fields are templated,
    objects and lists are shown as JSON.
    """

    kling_endpoint: ClassVar[str]
    kling_fields: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read the templated fields from the request model."""
        model = REQUESTS[cls.kling_endpoint]
        cls.kling_fields = tuple(model.own_fields())
        cls.template_fields = (*cls.kling_fields, *_COMMON_TEMPLATES)
        cls.template_fields_renderers = dict.fromkeys(model.json_fields(), "json")
        super().__init_subclass__(**kwargs)

    def __init__(self, **kwargs: Any):
        for name in ("endpoint", "request"):
            if name in kwargs:
                raise KlingBadRequestError(
                    f"{name}= is not for {type(self).__name__}, which is for {self.kling_endpoint} and takes Kling's "
                    "fields one by one. Give them as arguments, or use KlingSubmitOperator."
                )
        super().__init__(endpoint=self.kling_endpoint, **kwargs)

    def _keep(self, arguments: Mapping[str, Any]) -> None:
        """Store the arguments that are Kling's fields, so that they are templated and rendered, and check them."""
        for name in self.kling_fields:
            setattr(self, name, arguments[name])
        self._arguments_are_set()

    def kling_request(self) -> Mapping[str, Any]:
        """The request in Kling's own field names, as far as it was given."""
        return {name: getattr(self, name) for name in self.kling_fields}
