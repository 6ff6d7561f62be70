"""A probe's report, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kling_provider.probe.findings import Finding
from kling_provider.probe.seen import Paid

_WIDTH = 118


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a probe has to say.

    :param conn_id: Airflow's conn_id.
    :param where: gateway and address.
    :param endpoint: the endpoint.
    :param findings: what was found out.
    :param extras: what to change in the connection's extra.
    :param paid: what was submitted, or None.
    :param note: why there was no paid part, or nothing.
    """

    conn_id: str
    where: str
    endpoint: str
    findings: Sequence[Finding]
    extras: Mapping[str, Any]
    paid: Paid | None
    note: str = ""

    def to_json(self) -> str:
        """For programs."""
        content = {
            "connection": self.conn_id,
            "where": self.where,
            "endpoint": self.endpoint,
            "findings": {one.key: {"text": one.text, **one.facts} for one in self.findings},
            "extras": self.extras,
            "booked": [
                {"task_id": task_id, "external_task_id": name}
                for task_id, name in (self.paid.booked if self.paid else ())
            ],
            "unclear_external_task_ids": self.paid.unclear if self.paid else (),
            "note": self.note,
        }
        return json.dumps(content, indent=2, ensure_ascii=False)

    def to_text(self) -> str:
        """For people."""
        width = max(len(one.title) for one in self.findings)
        lines = [f"Connection {self.conn_id!r} ({self.where}), endpoint {self.endpoint}", ""]
        for one in self.findings:
            start = f"  {one.title:<{width}}  "
            lines += textwrap.wrap(
                one.text,
                _WIDTH,
                initial_indent=start,
                subsequent_indent=" " * len(start),
                break_long_words=False,
                break_on_hyphens=False,
            )
        nothing = "" if self.extras else "  (nothing to change by what was found)"
        lines += ["", f"Extras to set: {json.dumps(self.extras)}{nothing}"]
        if self.note:
            lines += ["", self.note]
        return "\n".join([*lines, *self._collect()])

    def _collect(self) -> list[str]:
        """How to have the videos that are being made."""
        if self.paid is None:
            return []
        common = f'endpoint="{self.endpoint}", kling_conn_id="{self.conn_id}", wait_for_completion=True'
        ids = [f'kling_task_id="{task_id}"' for task_id, _ in self.paid.booked]
        ids += [f'external_task_id="{name}"' for name in self.paid.unclear]
        if not ids:
            return []
        operators = [f'  KlingAdoptOperator(task_id="collect", {one}, {common})' for one in ids]
        return ["", "To collect what was submitted, in a DAG:", *operators]
