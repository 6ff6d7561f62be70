"""``python -m kling_provider.probe``: the free part always, the paid part if somebody says yes."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, TextIO

from kling_provider.api.endpoints import endpoint_for

if TYPE_CHECKING:
    from kling_provider.hooks.kling import KlingHook
    from kling_provider.probe.plan import Plan
    from kling_provider.probe.report import Report

PATIENCE_SECONDS = 60.0

_ABOUT = """\
Find out what an account's gateway really does with external_task_id, and which extras to set in the connection.
A free part asks only; a paid part submits the cheapest task there is, after it has named the price and asked.
"""


def main(arguments: list[str] | None = None) -> int:
    """Probe a connection.

    :param arguments: of the command line.
    :returns: the exit code: 0; 1 if the connection does not work or a submit was refused or unclear.
    """
    options = _parser().parse_args(arguments)
    output = sys.stdout
    with redirect_stdout(sys.stderr):  # Airflow logs to the output, where the report must stand alone
        from kling_provider.exceptions import KlingError
        from kling_provider.hooks.kling import KlingHook

        try:
            report, code = _probe(KlingHook(options.conn_id), options)
        except KlingError as error:
            _say(str(error))
            return 1
        except KeyboardInterrupt:
            _say("Stopped. What is booked goes on at Kling; the ids stand above.")
            return 130
    print(report.to_json() if options.json else report.to_text(), file=output)
    return code


def _probe(hook: KlingHook, options: argparse.Namespace) -> tuple[Report, int]:
    from kling_provider.probe.concluding import extras_to_set
    from kling_provider.probe.findings import findings
    from kling_provider.probe.free import look_for_free
    from kling_provider.probe.paid import look_for_money
    from kling_provider.probe.plan import plan_for
    from kling_provider.probe.report import Report

    config, row = hook.config, endpoint_for(options.endpoint)
    free = look_for_free(hook, row, _say)
    plan, paid, note = None, None, ""
    if free.works:
        plan = plan_for(hook, row.name, options.model, free.failed, thorough=options.thorough)
        note = "" if options.yes else _refused_by_person(_question(plan, hook.kling_conn_id), sys.stdin)
        if not note:
            paid = look_for_money(hook, plan, free, options.patience, _say)
    report = Report(
        hook.kling_conn_id,
        f"{config.gateway.name} at {config.base_url}",
        row.name,
        findings(free, paid, plan),
        extras_to_set(
            free,
            paid,
            row.name,
            now=config.external_id_for(row),
            external_id=config.external_id,
            settle=config.settle,
        ),
        paid,
        note,
    )
    _say("")
    is_done = free.works and (paid is None or (paid.task is not None and not paid.unclear))
    return report, 0 if is_done else 1


def _question(plan: Plan, conn_id: str) -> str:
    """Say what would be submitted, and the price of the worst case."""
    lines = [
        f"The paid part submits one task to {plan.endpoint.name} over {conn_id!r} ({plan.request}): {plan.price()}.",
        "It then submits the same external_task_id once more, which Kling refuses for nothing.",
    ]
    if plan.failed_id:
        lines.append(
            f"It also submits {plan.failed_id}, the id of a failed task, once more: a DAG that uses this id would "
            "find the probe's video."
        )
    lines.append(
        f"A gateway that refuses nothing makes {plan.most_tasks} tasks of it, each paid: "
        f"{plan.price(plan.most_tasks)}, at worst."
    )
    return "\n".join(lines)


def _refused_by_person(question: str, terminal: TextIO) -> str:
    """Ask; gives the reason why nothing may be submitted, or nothing."""
    _say(question)
    if not terminal.isatty():
        return "Nothing was submitted: there is no terminal to ask on. --yes agrees to the price."
    print("Submit? [yes/no] ", end="", file=sys.stderr, flush=True)
    if terminal.readline().strip().lower() in ("yes", "y"):
        return ""
    return "Nothing was submitted, as you said."


def _parser() -> argparse.ArgumentParser:
    from kling_provider.probe.plan import SAMPLES

    parser = argparse.ArgumentParser(
        prog="python -m kling_provider.probe",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--conn-id", default="kling_default", help="Airflow connection of type kling (kling_default)")
    add("--endpoint", choices=list(SAMPLES), default="text2video", help="what to submit to (text2video)")
    add("--model", help="model_name of the task (the cheapest that the gateway has)")
    add(
        "--patience",
        type=_seconds,
        default=PATIENCE_SECONDS,
        help="seconds to look for a new task, at most (60)",
    )
    add("--thorough", action="store_true", help="also do what may cost another task; the price includes it")
    add("--yes", action="store_true", help="agree to the price without being asked")
    add("--json", action="store_true", help="report for programs")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("use more than 0 and at most 3600 seconds")
    return seconds


def _say(text: str) -> None:
    """Progress goes to the error stream, so that the report stands alone."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # As in Airflow's own commands: a connection may be stored in Airflow's database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    sys.exit(main())
