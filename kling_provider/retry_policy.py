"""KLING_RETRY_POLICY: how long to wait before a retry, by what went wrong. Airflow 3.3 and later.

What a retry cannot mend (a wrong request, a refused picture, an empty account, a deadline) Airflow fails at once, with
any policy. What it may mend is told apart here; the task's ``retries`` stays the limit. A retry pays nothing again.

Before Airflow 3.3, which knows no such policies, ``KLING_RETRY_POLICY`` is None: in ``default_args`` that is ignored
there, so the same DAG file serves all versions.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from kling_provider.exceptions import (
    KlingConcurrencyLimitError,
    KlingRateLimitError,
    KlingServerError,
    KlingStorageError,
    KlingUnreadableResponseError,
)

#: Exception, delay and reason; the first that fits counts, so a subclass stands before its base.
RULES: tuple[tuple[type[BaseException], timedelta, str], ...] = (
    (KlingRateLimitError, timedelta(minutes=2), "Kling wants fewer requests (1302)"),
    (
        KlingConcurrencyLimitError,
        timedelta(minutes=10),
        "no slot of the account was free eight times (1303)",
    ),
    (
        KlingUnreadableResponseError,
        timedelta(minutes=1),
        "the answer was not Kling's; a proxy may be in the way",
    ),
    (KlingServerError, timedelta(minutes=3), "Kling or the network did not answer"),
    (
        KlingStorageError,
        timedelta(minutes=10),
        "the destination did not take the file; its owner may mend it",
    ),
)


def _policy() -> Any:
    try:
        from airflow.providers.common.compat.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
    except (ImportError, AttributeError):
        return None
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=error, action=RetryAction.RETRY, retry_delay=delay, reason=reason)
            for error, delay, reason in RULES
        ]
    )


#: For ``default_args``, or for the argument ``retry_policy`` of an operator; None before Airflow 3.3.
KLING_RETRY_POLICY: Any = _policy()
