"""Which Kling a demo talks to: the simulator, or the account whose key is in the environment."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kling_provider.api.gateways import GATEWAYS
from kling_provider.api.pricing import USD_PER_VIDEO_UNIT, estimate_units

CONNECTION = "AIRFLOW_CONN_KLING_DEFAULT"
#: Everything that can carry a key. Airflow gets the connection made of them and none of them.
SECRETS = (CONNECTION, "KLING_API_KEY", "KLING_ACCESS_KEY", "KLING_SECRET_KEY")


@dataclass(frozen=True)
class Account:
    """A real account.

    :param source: the environment variables it comes from; their values are never shown.
    :param connection: value of AIRFLOW_CONN_KLING_DEFAULT.
    :param extra: extras of that connection.
    """

    source: str
    connection: str
    extra: Mapping[str, Any]

    @property
    def gateway(self) -> str:
        """Name of the gateway that will be asked."""
        return str(self.extra.get("gateway") or "official")

    def estimate(self, model: str) -> str:
        """Say which model will run and what five seconds of it are listed for."""
        row = GATEWAYS.get(self.gateway)
        name = model or (row.models.get("image2video", "") if row else "")
        units = estimate_units("image2video", {"model_name": name, "duration": "5"})
        return f"{name or 'the default model'}, 5 s, {usd(units) if units else 'no published price'}"


def account_in(environment: Mapping[str, str]) -> Account | None:
    """Return the account that the environment names, or None: then the simulator is used.

    :raises ValueError: if only half of a key pair is set.
    """
    if given := environment.get(CONNECTION):
        return Account(CONNECTION, given, _extra_of(given))
    extra = {
        name: environment[variable]
        for name, variable in (("gateway", "KLING_GATEWAY"), ("region", "KLING_REGION"))
        if environment.get(variable)
    }
    connection: dict[str, Any] = {"conn_type": "kling", "extra": extra}
    access, secret = environment.get("KLING_ACCESS_KEY"), environment.get("KLING_SECRET_KEY")
    if key := environment.get("KLING_API_KEY"):
        return Account("KLING_API_KEY", json.dumps(connection | {"password": key}), extra)
    if access and secret:
        pair = json.dumps(connection | {"login": access, "password": secret})
        return Account("KLING_ACCESS_KEY and KLING_SECRET_KEY", pair, extra)
    if access or secret:
        raise ValueError("Set both KLING_ACCESS_KEY and KLING_SECRET_KEY, or KLING_API_KEY, or none of them.")
    return None


def usd(units: Decimal) -> str:
    """Write units as money."""
    return f"{units.normalize():f} units = {units * USD_PER_VIDEO_UNIT:.2f} USD at list price"


def _extra_of(connection: str) -> dict[str, Any]:
    """Read the extras of a connection written as JSON or as a URI; empty where they cannot be read."""
    try:
        if connection.lstrip().startswith("{"):
            extra = json.loads(connection).get("extra") or {}
        else:
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(connection).query))
            extra = query.get("__extra__") or query
        loaded = json.loads(extra) if isinstance(extra, str) else extra
    except ValueError:
        return {}
    return dict(loaded) if isinstance(loaded, dict) else {}
