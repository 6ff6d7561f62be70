"""Placeholder of the lead until the real check lands; replace it wholly."""

from __future__ import annotations


def check_destination(destination: str, storage_conn_id: str | None = None) -> None:
    """Check nothing yet."""
