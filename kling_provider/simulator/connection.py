"""The Airflow connection that leads to a simulator."""

from __future__ import annotations

import json
from typing import Any, Literal
from urllib.parse import quote, urlencode

from kling_provider.simulator.accounts import Account

Auth = Literal["key", "pair"]


def connection_json(url: str, account: Account, gateway: str, auth: Auth, extra: dict[str, Any]) -> str:
    """The connection as JSON, for ``AIRFLOW_CONN_...``.

    :param url: address of the simulator.
    :param account: whose keys.
    :param gateway: extra ``gateway``.
    :param auth: ``key``: API key as password; ``pair``: access key as login, secret key as password.
    :param extra: further extras.
    """
    login, password = _proof(account, auth)
    connection: dict[str, Any] = {"conn_type": "kling", "host": url, "password": password}
    if login:
        connection["login"] = login
    return json.dumps({**connection, "extra": {"gateway": gateway, **extra}})


def connection_uri(url: str, account: Account, gateway: str, auth: Auth, extra: dict[str, Any]) -> str:
    """The same as a URI, for ``airflow connections add --conn-uri`` and ``AIRFLOW_CONN_...``."""
    login, password = _proof(account, auth)
    values = json.dumps({"gateway": gateway, **extra})
    proof = f"{quote(login, safe='')}:{quote(password, safe='')}"
    return f"kling://{proof}@{quote(url, safe='')}/?{urlencode({'__extra__': values})}"


def _proof(account: Account, auth: Auth) -> tuple[str, str]:
    return ("", account.api_key) if auth == "key" else (account.access_key, account.secret_key)
