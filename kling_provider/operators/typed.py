"""What every typed operator is: a submit operator whose request is made of its own arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kling_provider.api.errors import InvalidRequest
from kling_provider.api.requests import REQUESTS, check_literals
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.operators.submit import KlingSubmitOperator

#: Stands for a value that is not known yet, like any template.
_FROM_EXPAND = "{{ }}"
_COMMON_TEMPLATES = tuple(
    name for name in KlingSubmitOperator.template_fields if name not in ("endpoint", "request")
)


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

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """As Airflow's, but literal mistakes are told where the DAG is parsed; what ``expand()`` gives is not known.

        :param kwargs: arguments of every mapped task.
        :raises KlingBadRequestError: naming field, value, rule and way out.
        """
        made = super().partial(**kwargs)
        dag, group = made.kwargs.get("dag"), made.kwargs.get("task_group")
        if getattr(dag, "jinja_environment_kwargs", None):
            return made  # templates may look otherwise there
        given: dict[str, Any] = {}
        for defaults in (getattr(dag, "default_args", None), getattr(group, "default_args", None)):
            given |= defaults or {}
        given |= (kwargs.get("default_args") or {}) | kwargs
        known = {name: given.get(name, _FROM_EXPAND) for name in cls.kling_fields}
        try:
            validate, dialect = given.get("validate", "strict"), given.get("dialect", "classic")
            check_literals(cls.kling_endpoint, known, validate, dialect)
        except InvalidRequest as error:
            raise KlingBadRequestError(f"{kwargs.get('task_id')}: {error}", endpoint=cls.kling_endpoint)
        return made

    def _keep(self, arguments: Mapping[str, Any]) -> None:
        """Store the arguments that are Kling's fields, so that they are templated and rendered, and check them.

        Not an ``__init__`` of this class: Airflow copies the DAG's params anew for each one on the way.
        """
        for name in ("endpoint", "request"):
            if name in arguments["kwargs"]:
                raise KlingBadRequestError(
                    f"{name}= is not for {type(self).__name__}, which is for {self.kling_endpoint} and takes Kling's "
                    "fields one by one. Give them as arguments, or use KlingSubmitOperator."
                )
        self.endpoint = self.kling_endpoint
        for name in self.kling_fields:
            setattr(self, name, arguments[name])
        self._arguments_are_set()

    def kling_request(self) -> Mapping[str, Any]:
        """The request in Kling's own field names, as far as it was given."""
        return {name: getattr(self, name) for name in self.kling_fields}
