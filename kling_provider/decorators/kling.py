"""``@task.kling``: a function writes the request, and the task submits it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import DecoratedOperator, determine_kwargs, task_decorator_factory

from kling_provider.api.errors import shorten
from kling_provider.exceptions import KlingBadRequestError
from kling_provider.operators.submit import KlingSubmitOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskDecorator

log = logging.getLogger(__name__)

#: Where a DAG is parsed, nothing is known of the request.
_NOT_KNOWN_YET = {"": "{{ }}"}


class KlingDecoratedOperator(DecoratedOperator, KlingSubmitOperator):
    """A submit operator whose request is what a function returns.

    The function is called again when a try goes on after a wait, so it must return the same each time, as a template
    does: no clock, no random numbers. All other arguments are those of ``KlingSubmitOperator``.

    :param python_callable: returns the request, in Kling's own field names. Strings are sent as they are.
    :param op_args: positional arguments of the function (templated).
    :param op_kwargs: arguments of the function by name (templated).
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *KlingSubmitOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **KlingSubmitOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.kling"
    #: Airflow shows what was asked for, which is known once the function was called.
    overwrite_rtif_after_execution = True

    def __init__(
        self,
        *,
        python_callable: Callable[..., Mapping[str, Any]],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        if "request" in kwargs:
            raise KlingBadRequestError("request= is not for @task.kling: the function returns the request.")
        self._is_asked = False
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    def kling_request(self) -> Mapping[str, Any]:
        """The request in Kling's own field names, once the function was called."""
        return self.request if self._is_asked else _NOT_KNOWN_YET

    def execute(self, context: Any) -> Any:
        """Call the function, then check, submit, push the id, and wait if asked to.

        :param context: Airflow's context.
        """
        self._wait_for_upstream(context)  # before what is not there yet is written into a prompt
        self._ask(context)
        # Not that of DecoratedOperator, which looks for assets in what a function returns.
        return KlingSubmitOperator.execute(self, context)

    def resume_submit(self, context: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Go on submitting what the function asks for; see :meth:`KlingSubmitOperator.resume_submit`.

        :param context: Airflow's context.
        """
        self._ask(context)
        return super().resume_submit(context, *args, **kwargs)

    def execute_complete(self, context: Mapping[str, Any], event: Any = None) -> dict[str, Any]:
        """Resume after the trigger fired; the function is called only to show what was asked for.

        :param context: Airflow's context.
        :param event: what the trigger sent.
        """
        try:
            self._ask(context)
        except Exception as error:  # the video is made and paid
            log.warning("What was asked for cannot be shown any more: %s: %s", type(error).__name__, error)
        return super().execute_complete(context, event)

    def _ask(self, context: Mapping[str, Any]) -> None:
        kwargs = determine_kwargs(self.python_callable, self.op_args, {**context, **self.op_kwargs})
        request = self.python_callable(*self.op_args, **kwargs)
        if not isinstance(request, Mapping):
            raise KlingBadRequestError(
                f"Nothing was sent. {self.python_callable.__name__} returned {shorten(request, 80)}: return the "
                'request as a dict, for example {"prompt": "..."}.',
                endpoint=self.endpoint,
            )
        self.request = dict(request)
        self._is_asked = True


def kling_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make a task of a function that returns a request.

    :param python_callable: the function.
    :param kwargs: arguments of :class:`KlingSubmitOperator`, but ``request``.
    :raises KlingBadRequestError: for ``multiple_outputs=True``.
    """
    if kwargs.pop("multiple_outputs", None):
        raise KlingBadRequestError(
            "multiple_outputs=True is not for @task.kling: what the function returns is the request, and the task "
            'returns Kling\'s id or result, whose parts are pushed by name without it (output["video_url"]).'
        )
    return task_decorator_factory(
        python_callable=python_callable,
        # What it returns is not what the function returns, whatever its annotation says.
        multiple_outputs=False,
        decorated_operator_class=KlingDecoratedOperator,
        **kwargs,
    )
