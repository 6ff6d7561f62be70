"""Every week: what Kling has deducted against what lies in storage, and against the price list.

It joins Kling's billing rows (packs and balance) with the account's tasks of this connection's namespace and with
the names of the files under the Variable `kling_destination`. It reports what was paid and not collected (run
`kling_reconcile`), paid twice for one piece of work, charged although it failed, and charged otherwise than the
price list says. It costs nothing.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, Param, Variable, task

from kling_provider.api.audit import audit
from kling_provider.api.billing import BillingKind
from kling_provider.hooks.kling import KlingHook
from kling_provider.hooks.listing import LOOK_BACK, list_account
from kling_provider.transfers.stored import stored_task_ids

log = logging.getLogger(__name__)

PERIOD = timedelta(days=7)
#: What was deducted at the begin of a period was created before it.
LONGEST_TASK = timedelta(days=2)


def moment(text: str | None, default: datetime) -> datetime:
    """The time a person gave, in UTC where it names no zone."""
    if not text:
        return default
    given = datetime.fromisoformat(text)
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def table(told: dict[str, Any]) -> str:
    """The report in a few lines for the log."""
    paid, prices = told["paid"], told["estimates"]
    lines = {
        "period": f"{told['start']} to {told['end']}",
        "paid": f"{paid['tasks']} tasks, {paid['units']} units {paid['amounts'] or ''}",
        **told["findings"],
        "pending": told["pending"],
        "by the price list": f"{prices['estimated']} units, charged {prices['charged']} ({prices['compared']} tasks)",
        "not compared": f"{prices['without_price']} tasks, of {prices['unnamed']} of them nothing tells the endpoint",
        "not ours": f"{told['not_ours']['tasks']} tasks, {told['not_ours']['units']} units",
        "unlisted": f"{told['unlisted']['tasks']} tasks, {told['unlisted']['units']} units",
    }
    return "\n".join(f"{name:<26} {value}" for name, value in lines.items())


with DAG(
    "kling_audit",
    schedule="@weekly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    tags=["kling", "example"],
    doc_md=__doc__,
    default_args={"retries": 2},
    params={
        "start": Param(
            None, type=["null", "string"], format="date-time", title="From (empty: a week before the end)"
        ),
        "end": Param(
            None, type=["null", "string"], format="date-time", title="To (empty: older_than_hours ago)"
        ),
        "older_than_hours": Param(
            6, type="number", minimum=0, title="Miss only what was ready so many hours ago"
        ),
        "max_pages": Param(
            100,
            type="integer",
            minimum=1,
            maximum=1000,
            title="At most so many pages of 500 tasks per endpoint",
        ),
        "fail_on_findings": Param(
            False, type="boolean", title="Fail the run if there is anything to look at"
        ),
    },
) as dag:

    @task
    def compare(params: Any = None, dag_run: Any = None) -> dict[str, Any]:
        settling = timedelta(hours=params["older_than_hours"])
        # Week joins week, and nothing is judged too early.
        end = moment(params["end"], dag_run.run_after - settling)
        start = moment(params["start"], end - PERIOD)
        hook = KlingHook()
        look_back = max(LOOK_BACK, datetime.now(UTC) - start + LONGEST_TASK)
        listing = list_account(hook, max_pages=params["max_pages"], look_back=look_back)
        rows = [row for kind in get_args(BillingKind) for row in hook.get_billing(start, end, kind=kind)]
        found = audit(
            rows,
            listing.tasks,
            stored_task_ids(Variable.get("kling_destination", default="file:///tmp/kling")),
            namespace=hook.config.namespace,
            settled_before=datetime.now(UTC) - settling,
        )
        return {
            "start": start.isoformat(),
            "end": end.isoformat(),
            "is_complete": listing.is_complete,
            **found.to_dict(),
        }

    @task(retries=0)
    def report(told: Any, params: Any = None) -> dict[str, int]:
        log.info("Kling audit\n%s", table(told))
        findings: dict[str, int] = told["findings"]
        for paid in told["not_collected"]:
            log.warning("Paid, not collected: %s", paid)
        for work in told["paid_twice"]:
            log.warning("Paid twice: %s", work)
        for paid in told["failed"]:
            log.warning("Charged although failed: %s", paid)
        for difference in told["estimates"]["differences"]:
            log.warning("The charge is not the estimate: %s", difference)
        if params["fail_on_findings"] and any(findings.values()):
            raise AirflowFailException(
                f"The audit found something: {findings}. The report is in compare's XCom."
            )
        return findings

    report(compare())
