"""One exception class per way to react; each text says what happened, to which task, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowSensorTimeout

from kling_provider.api.errors import Failure, Reaction


class KlingError(AirflowException):
    """Anything that went wrong with Kling.

    :param message: the whole text for the person on call.
    :param failure: Kling's answer, where there was one; gives ``code``, ``http_status``, ``request_id``.
    :param endpoint: name of the endpoint.
    :param task_id: Kling's task id, if it is known.
    :param external_task_id: the caller's id, if there is one.
    """

    def __init__(
        self,
        message: str,
        *,
        failure: Failure | None = None,
        endpoint: str | None = None,
        task_id: str | None = None,
        external_task_id: str | None = None,
    ):
        super().__init__(message)
        self.failure = failure
        self.endpoint = endpoint
        self.task_id = task_id
        self.external_task_id = external_task_id

    @property
    def code(self) -> int | None:
        """Kling's error code, or None where there was no envelope."""
        return self.failure.code if self.failure else None

    @property
    def http_status(self) -> int | None:
        """HTTP status of the answer, or None where there was none."""
        return self.failure.http_status if self.failure else None

    @property
    def request_id(self) -> str | None:
        """Kling's request_id, to quote to its support, or None."""
        return self.failure.request_id if self.failure else None


class KlingBadRequestError(KlingError, AirflowFailException):
    """The request or the configuration is wrong: change it; a retry cannot help. Nothing was charged."""


class KlingTaskNotFoundError(KlingBadRequestError):
    """The account does not know this id: check id, endpoint, connection and region."""


class KlingContentPolicyError(KlingError, AirflowFailException):
    """Kling refused the prompt or the picture: change them. Nothing was charged."""


class KlingAuthError(KlingError, AirflowFailException):
    """The key, the region or the clock is wrong."""


class KlingAccountError(KlingError, AirflowFailException):
    """The account cannot pay for or may not use this: top up, buy a pack, ask for the right, allow the IP."""


class KlingTaskFailedError(KlingError, AirflowFailException):
    """Kling took the task and says it failed. Failed tasks are not charged."""


class KlingSubmissionUnknownError(KlingError, AirflowFailException):
    """The submit may have been booked (and paid), and this connection cannot look it up."""


class KlingTaskTimeoutError(KlingError, AirflowSensorTimeout):
    """Our deadline passed; the task goes on at Kling and can still be collected."""


class KlingRateLimitError(KlingError):
    """Too many requests (1302, or a 429 without Kling's envelope): try again later."""


class KlingConcurrencyLimitError(KlingError):
    """All slots of the account are taken (1303): try again when a task has finished."""


class KlingServerError(KlingError):
    """Kling's side or the network failed: try again later."""


class KlingUnreadableResponseError(KlingServerError):
    """The answer was not Kling's: HTML, truncated, empty or of the wrong shape."""


class KlingStorageError(KlingError):
    """The destination or the disk did not take a result: mend it; a retry fetches it again, for nothing."""


EXCEPTIONS: Mapping[Reaction, type[KlingError]] = {
    Reaction.BAD_REQUEST: KlingBadRequestError,
    Reaction.NOT_FOUND: KlingTaskNotFoundError,
    Reaction.CONTENT_POLICY: KlingContentPolicyError,
    Reaction.AUTH: KlingAuthError,
    Reaction.RESIGN: KlingAuthError,
    Reaction.ACCOUNT: KlingAccountError,
    Reaction.RATE: KlingRateLimitError,
    Reaction.CONCURRENCY: KlingConcurrencyLimitError,
    Reaction.SERVER: KlingServerError,
    Reaction.UNREADABLE: KlingUnreadableResponseError,
}


def from_failure(
    failure: Failure,
    what: str,
    *,
    endpoint: str | None = None,
    task_id: str | None = None,
    external_task_id: str | None = None,
    hint: str = "",
) -> KlingError:
    """Make the exception for a failed request.

    :param failure: what Kling or the network answered.
    :param what: what was being done, for the start of the text.
    :param endpoint: name of the endpoint.
    :param task_id: Kling's task id, if it is known.
    :param external_task_id: the caller's id, if there is one.
    :param hint: what else is to be known, for the end of the text.
    """
    return EXCEPTIONS[failure.reaction](
        f"{what} failed: {failure.describe()}{f' {hint}' if hint else ''}",
        failure=failure,
        endpoint=endpoint,
        task_id=task_id,
        external_task_id=external_task_id,
    )
