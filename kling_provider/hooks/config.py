"""Read an Airflow connection of type ``kling`` into one checked, frozen value."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Protocol
from urllib.parse import urlsplit

from kling_provider.api.auth import Bearer, Credentials, KeyPair
from kling_provider.api.budget import DEFAULT_REQUESTS_PER_SECOND
from kling_provider.api.calls import Routes
from kling_provider.api.endpoints import Dialect, Endpoint, ExternalIdUse
from kling_provider.api.errors import show
from kling_provider.api.gateways import (
    DEFAULT_GATEWAY,
    DEFAULT_REGION,
    GATEWAYS,
    NEW_DIALECT_PICTURE_BYTES,
    Gateway,
    PictureLimits,
    SoundLimits,
)
from kling_provider.exceptions import KlingBadRequestError

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0

_KLING_EXTRAS = frozenset(
    {
        "gateway",
        "region",
        "path_prefix",
        "query_path",
        "external_id",
        "namespace",
        "timeout",
        "settle",
        "media_roots",
        "result_hosts",
        "allow_http",
        "picture_limits",
        "triggerers",
        "requests_per_second",
        "typical_seconds",
    }
)
#: Extras the HTTP provider understands; they go to its session unchanged.
_HTTP_EXTRAS = frozenset({"proxies", "proxy", "verify", "verify_ssl", "cert", "trust_env"})


class ConnectionLike(Protocol):
    """What is read of an Airflow connection."""

    host: str | None
    port: int | None
    schema: str | None
    login: str | None
    password: str | None


#: What can be done with an external_task_id, the most first.
_USES: tuple[ExternalIdUse, ...] = ("lookup", "list", "none")


@dataclass(frozen=True, slots=True)
class KlingConfig:
    """Everything a hook needs to know about one connection.

    :param conn_id: Airflow's conn_id.
    :param gateway: row of the gateway table.
    :param region: whose host and console are used; empty where the gateway has none.
    :param base_url: scheme, host and port.
    :param routes: where the gateway has what.
    :param credentials: how requests are signed.
    :param external_id: whether submits can be looked up by the caller's id, per endpoint or for all.
    :param namespace: keeps deployments that share an account apart.
    :param timeout: seconds to connect, seconds to wait for data.
    :param settle: seconds that an unclear answer to a submit is given before "not found" counts; after a read
        time-out. None: as api.submitting says.
    :param media_roots: where pictures may be read from; empty allows all.
    :param result_hosts: private hosts that results may be fetched from.
    :param pictures: limits of picture inputs.
    :param sounds: limits of sound inputs.
    :param triggerers: how many triggerers share ``requests_per_second``.
    :param requests_per_second: what all that wait may ask, in all triggerers together.
    :param typical_seconds: how long tasks take here, per endpoint or for all (``*``), where it is not what the
        endpoint table says.
    :param http_extras: proxies (per scheme), verify, cert, trust_env, as the HTTP provider takes them.
    """

    conn_id: str
    gateway: Gateway
    region: str
    base_url: str
    routes: Routes
    credentials: Credentials
    external_id: Mapping[str, ExternalIdUse]
    namespace: str = ""
    timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS)
    settle: tuple[float, float] | None = None
    media_roots: tuple[str, ...] = ()
    result_hosts: tuple[str, ...] = ()
    pictures: PictureLimits = PictureLimits()
    sounds: SoundLimits = SoundLimits()
    triggerers: int = 1
    requests_per_second: float = DEFAULT_REQUESTS_PER_SECOND
    typical_seconds: Mapping[str, float] = field(default_factory=dict)
    http_extras: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def external_id_for(self, endpoint: Endpoint) -> ExternalIdUse:
        """Whether a submit to ``endpoint`` can be looked up afterwards: what endpoint and gateway both can."""
        if endpoint.name in self.external_id:
            return self.external_id[endpoint.name]
        here = self.external_id.get("*") or self.gateway.external_id
        return max(here, endpoint.external_id, key=_USES.index)

    @property
    def own_result_hosts(self) -> frozenset[str]:
        """Hosts besides the vendor's where results of this connection lie: a gateway's own, this machine's."""
        host = urlsplit(self.base_url).hostname or ""
        return frozenset({host, "localhost", "127.0.0.1"} if self.is_loopback else {host})

    def pictures_for(self, dialect: Dialect) -> PictureLimits:
        """Limits of picture inputs, larger in the new dialect unless the connection sets its own."""
        if dialect == "classic" or self.pictures.max_bytes != PictureLimits().max_bytes:
            return self.pictures
        return replace(self.pictures, max_bytes=NEW_DIALECT_PICTURE_BYTES)

    def model_for(self, endpoint: Endpoint) -> str | None:
        """The model that is sent where the caller names none."""
        return self.gateway.models.get(endpoint.name)

    @property
    def account(self) -> str:
        """Tells accounts apart in records, without telling the key (60 bits of a digest of a random key)."""
        key = self.credentials.access_key if isinstance(self.credentials, KeyPair) else self.credentials.token
        digest = hashlib.sha256(f"kling-account\0{self.gateway.name}\0{key}".encode()).digest()
        return base64.b32encode(digest).decode().lower()[:12]

    @property
    def is_loopback(self) -> bool:
        """Whether the API itself runs on this machine (the simulator)."""
        return is_loopback_host(urlsplit(self.base_url).hostname or "")

    def proxy_for(self, url: str) -> str | None:
        """The proxy that requests to ``url`` go through, from the connection or else the environment."""
        from requests.utils import get_environ_proxies, select_proxy

        proxies = self.http_extras.get("proxies")
        if not proxies and self.http_extras.get("trust_env") is not False:
            proxies = get_environ_proxies(url)
        return select_proxy(url, proxies)

    @property
    def console_url(self) -> str | None:
        """Where a person looks at the account, or None."""
        return self.gateway.console.get(self.region)


def read_connection(conn_id: str, conn: ConnectionLike, extra: Mapping[str, Any]) -> KlingConfig:
    """Check a connection and read it.

    :param conn_id: Airflow's conn_id, for messages.
    :param conn: the connection.
    :param extra: its extra, read asynchronously where need be.
    :raises KlingBadRequestError: naming the field and the way out; nothing was sent.
    """
    try:
        return _read(conn_id, conn, {name: item for name, item in extra.items() if item not in (None, "")})
    except ValueError as error:
        raise KlingBadRequestError(f"Connection {conn_id!r}: {error}")


def unknown_extras(extra: Mapping[str, Any]) -> list[str]:
    """Say which extras mean nothing here, each with the closest one that does."""
    known = _KLING_EXTRAS | _HTTP_EXTRAS
    messages = []
    for name in sorted(set(extra) - known):
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        messages.append(f"extra {name!r} means nothing to Kling connections and is not used{hint}")
    return messages


def is_loopback_host(host: str) -> bool:
    """Whether ``host`` is this machine itself, by name or by address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(conn_id: str, conn: ConnectionLike, extra: Mapping[str, Any]) -> KlingConfig:
    gateway = GATEWAYS[_choice(GATEWAYS, "gateway", extra.get("gateway", DEFAULT_GATEWAY))]
    region = ""
    if DEFAULT_REGION in gateway.hosts:
        region = _choice(gateway.hosts, "region", extra.get("region", DEFAULT_REGION))
    base_url, path = _base_url(conn, gateway.hosts.get(region, ""), allow_http=_flag(extra, "allow_http"))
    prefix = str(extra.get("path_prefix", path or gateway.path_prefix)).rstrip("/")
    if prefix and not prefix.startswith("/"):
        raise ValueError(f"extra path_prefix={prefix!r} must start with '/'.")
    return KlingConfig(
        conn_id=conn_id,
        gateway=gateway,
        region=region,
        base_url=base_url,
        routes=Routes(prefix, _query_path(extra.get("query_path", gateway.query_path))),
        credentials=_credentials(conn, gateway),
        external_id=_external_id(extra.get("external_id", {})),
        namespace=str(extra.get("namespace", "")),
        timeout=_timeout(extra.get("timeout")),
        settle=_settle(extra.get("settle")),
        media_roots=_texts(extra, "media_roots"),
        result_hosts=_texts(extra, "result_hosts"),
        sounds=gateway.sounds,
        pictures=_limits(gateway.pictures, _plain(extra.get("picture_limits", {}))),
        triggerers=int(_above_zero(extra, "triggerers", 1, 1000, whole=True)),
        requests_per_second=_above_zero(extra, "requests_per_second", DEFAULT_REQUESTS_PER_SECOND, 1000),
        typical_seconds=_typical_seconds(extra.get("typical_seconds")),
        http_extras=_http_extras(extra),
    )


def _choice(table: Mapping[str, Any], name: str, value: object) -> str:
    text = str(value).strip()
    if text not in table:
        raise ValueError(f"extra {name}={show(value, 40)} is not known. Use one of {', '.join(table)}.")
    return text


def _base_url(conn: ConnectionLike, default: str, *, allow_http: bool) -> tuple[str, str]:
    """Scheme, host and port; and the path, if the host was given with one."""
    host = (conn.host or "").strip() or default
    if not host:
        raise ValueError("host is empty, and gateway 'custom' has no host of its own. Set the host.")
    if "://" not in host:
        if host.count(":") > 1 and not host.startswith("["):
            host = f"[{host}]"  # an IPv6 address, as people write it where it stands alone
        bare = urlsplit(f"//{host}").hostname or ""
        guess = "http" if is_loopback_host(bare) else "https"
        host = f"{conn.schema if conn.schema in ('http', 'https') else guess}://{host}"
    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"host={show(parts._replace(netloc=parts.hostname or '').geturl(), 80)} is no web host."
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("host holds more than scheme, name, port and path. Put the key into the password.")
    port = parts.port or conn.port
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.scheme == "http" and not (is_loopback_host(parts.hostname) or allow_http):
        raise ValueError(
            f"host={parts.hostname!r} over plain http would send the key in the open. Use https, or set the "
            "extra allow_http to true if you mean it."
        )
    return f"{parts.scheme}://{name}" + (f":{port}" if port else ""), parts.path.rstrip("/")


def _credentials(conn: ConnectionLike, gateway: Gateway) -> Credentials:
    password = (conn.password or "").strip()
    login = (conn.login or "").strip()
    if not password:
        raise ValueError(
            "the password is empty. Put the API key or gateway token there (or, with the access key as login, "
            "the secret key)."
        )
    if any(ord(character) <= 32 or ord(character) > 126 for character in login + password):
        raise ValueError("login or password holds white space or unusual characters. Paste the key again.")
    if not login:
        return Bearer(password)
    if not gateway.signs_jwt:
        raise ValueError(
            f"gateway {gateway.name!r} takes a token alone. Put it into the password and leave the login empty."
        )
    return KeyPair(login, password)


def _query_path(value: object) -> str | None:
    if value is None:
        return None
    template = str(value)
    try:
        template.format(endpoint="e", task_id="t")
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        raise ValueError(f"extra query_path={show(template, 80)} may hold {{endpoint}} and {{task_id}} only.")
    if not template.startswith("/") or "{task_id}" not in template:
        raise ValueError(f"extra query_path={show(template, 80)} must start with '/' and hold {{task_id}}.")
    return template


def _external_id(value: object) -> dict[str, ExternalIdUse]:
    plain = _plain(value)
    table = plain if isinstance(plain, Mapping) else {"*": plain}
    if not all(use in _USES for use in table.values()):
        raise ValueError(
            f"extra external_id={show(value, 60)}: use lookup, list or none, for all or per endpoint."
        )
    return dict(table)


def _settle(value: object) -> tuple[float, float] | None:
    plain = _plain(value)
    if plain is None:
        return None
    try:
        answer, timed_out = (
            (float(item) for item in plain) if isinstance(plain, list | tuple) else (float(str(plain)),) * 2
        )
    except (TypeError, ValueError):
        raise ValueError(
            f"extra settle={show(value, 40)}: use seconds, or [seconds, seconds after a time-out]."
        )
    if not (0 <= answer <= 600 and 0 <= timed_out <= 600):
        raise ValueError(f"extra settle={show(value, 40)}: use 0 to 600 seconds.")
    return answer, timed_out


def _timeout(value: object) -> tuple[float, float]:
    plain = _plain(value)
    try:
        if plain is None:
            return CONNECT_SECONDS, READ_SECONDS
        if isinstance(plain, list | tuple):
            connect, read = (float(item) for item in plain)
        else:
            connect, read = min(CONNECT_SECONDS, float(str(plain))), float(str(plain))
    except (TypeError, ValueError):
        raise ValueError(f"extra timeout={show(value, 40)}: use seconds, or [connect, read] in seconds.")
    if not (0 < connect < 3600 and 0 < read < 3600):
        raise ValueError(f"extra timeout={show(value, 40)}: use more than 0 and less than 3600 seconds.")
    return connect, read


def _texts(extra: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = _plain(extra.get(name, []))
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"extra {name}={show(value, 60)}: use a list, or text separated by commas.")
    return tuple(item.strip() for item in items if item.strip())


def _limits(limits: PictureLimits, overrides: object) -> PictureLimits:
    if not isinstance(overrides, Mapping):
        raise ValueError(f"extra picture_limits={show(overrides, 60)}: use a JSON object.")
    try:
        return replace(limits, **{name: _number(item) for name, item in overrides.items()})
    except (TypeError, ValueError):
        names = ", ".join(PictureLimits.__dataclass_fields__)
        raise ValueError(f"extra picture_limits={show(overrides, 60)}: use numbers for {names}.")


def _above_zero(
    extra: Mapping[str, Any], name: str, default: float, most: float, *, whole: bool = False
) -> float:
    value = extra.get(name, default)
    try:
        number = float(str(value))
    except ValueError:
        number = 0.0
    if isinstance(value, bool) or not 0 < number <= most or (whole and not number.is_integer()):
        kind = "a whole number from 1" if whole else "a number above 0 and"
        raise ValueError(f"extra {name}={show(value, 40)}: use {kind} up to {most:g}.")
    return number


def _typical_seconds(value: object) -> dict[str, float]:
    plain = _plain(value)
    table = plain if isinstance(plain, Mapping) else {} if plain is None else {"*": plain}
    try:
        return {
            str(name): _above_zero({str(name): item}, str(name), 0, 7 * 86400) for name, item in table.items()
        }
    except ValueError:
        raise ValueError(
            f"extra typical_seconds={show(value, 60)}: use seconds for all, or an object with some per endpoint."
        )


def _number(value: object) -> Any:
    number = float(str(value))
    return int(number) if number.is_integer() else number


def _http_extras(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Under one name each, and proxies per scheme: the HTTP provider passes a text on, and it is not used."""
    plain = {name: _plain(extra[name]) for name in _HTTP_EXTRAS if name in extra}
    for other, name in (("proxy", "proxies"), ("verify_ssl", "verify")):
        if other in plain:
            plain.setdefault(name, plain.pop(other))
            plain.pop(other, None)
    if isinstance(plain.get("proxies"), str):
        plain["proxies"] = dict.fromkeys(("http", "https"), plain["proxies"])
    if not isinstance(plain.get("proxies", {}), Mapping):
        raise ValueError("extra proxies: use an address, or a JSON object with one per scheme.")
    certificates = plain.get("cert") or []
    for name, path in (("verify", plain.get("verify")), *(("cert", item) for item in _listed(certificates))):
        if isinstance(path, str) and not os.path.exists(path):
            raise ValueError(f"extra {name}={show(path, 120)}: there is no such file on this machine.")
    return plain


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _flag(extra: Mapping[str, Any], name: str) -> bool:
    return str(extra.get(name, "")).strip().lower() in ("1", "true", "yes", "on")


def _plain(value: object) -> Any:
    """The connection form stores text; read JSON and booleans out of it."""
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        if text[:1] in ("{", "["):
            try:
                return json.loads(text)
            except ValueError:
                return value
    return value
