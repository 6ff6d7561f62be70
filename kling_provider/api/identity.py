"""The external_task_id of a submit: the same work always gets the same id, so it can be found again.

Format, frozen: ``af1-{namespace:6}-{identity:16}-{request:12}``, lower-case base32 digests. Changing
anything here makes a running retry pay a second time; the golden vectors in the tests never change.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from kling_provider.api.errors import InvalidRequest, show

_DERIVED = re.compile(r"af1-[a-z2-7]{6}-[a-z2-7]{16}-[a-z2-7]{12}")
_USER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")

#: Query parameters that sign a URL: they differ on every run although the picture is the same.
#: Tencent signs with q-sign-algorithm, q-sign-time, q-signature and q-key-time.
_SIGNATURE_PREFIXES = ("x-amz-", "x-goog-", "q-sign", "x-oss-")
_SIGNATURE_NAMES = frozenset(
    {
        "sig",
        "se",
        "sp",
        "expires",
        "signature",
        "q-key-time",
        "awsaccesskeyid",
        "googleaccessid",
        "ossaccesskeyid",
        "security-token",
        "key-pair-id",
    }
)
#: Short names that only sign beside a signature: Azure's times, CloudFront's policy.
_BESIDE_A_SIGNATURE = frozenset({"st", "skt", "ske", "policy"})

#: Where Kling's results lie (observed). The same file is told on several hosts and signed anew each time, so of such
#: an address the path counts, and the rest of the query.
_RESULT_HOSTS = re.compile(r"(.+\.)?(kechuangai\.com|klingai\.com|kling\.ai|kwimgs\.com|inkwai\.com)")
_RESULT_SIGNATURES = ("pkey", "cachekey", "x-kcdn-")

#: Not part of what is asked for.
_NOT_THE_REQUEST = frozenset({"callback_url", "external_task_id"})


@dataclass(frozen=True, slots=True)
class TaskIdentity:
    """Which piece of work a submit is for.

    :param dag_id: Airflow's dag_id.
    :param run_id: Airflow's run_id.
    :param task_id: Airflow's task_id.
    :param map_index: position of a mapped task, -1 if it is not mapped; unused where ``key`` is given.
    :param key: the caller's idempotency_key, or None.
    :param clear_no: how often the task was cleared to make a new video.
    :param fail_no: the first number whose task Kling has not failed.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    key: str | None = None
    clear_no: int = 0
    fail_no: int = 0


def external_task_id(namespace: str, identity: TaskIdentity, request_digest: str) -> str:
    """Derive the id that is sent to Kling.

    :param namespace: the connection's extra ``namespace``.
    :param identity: which piece of work.
    :param request_digest: what :func:`digest_request` returned.
    """
    position = ["key", identity.key] if identity.key is not None else ["map_index", identity.map_index]
    parts = [
        identity.dag_id,
        identity.run_id,
        identity.task_id,
        *position,
        identity.clear_no,
        identity.fail_no,
    ]
    return f"{namespace_prefix(namespace)}{_digest(_canonical(parts), 16)}-{request_digest}"


def digest_request(
    endpoint: str, dialect: str, request: Mapping[str, object], result_hosts: Collection[str] = ()
) -> str:
    """Digest what the caller asked for: endpoint, dialect and the fields as given, before defaults.

    :param endpoint: name of the endpoint.
    :param dialect: its dialect.
    :param request: the fields; pictures that were read are bytes, URLs are strings.
    :param result_hosts: where results lie besides the vendor's hosts: one's own gateway.
    """
    fields = {name: value for name, value in request.items() if name not in _NOT_THE_REQUEST}
    try:
        return _digest(_canonical([endpoint, dialect, _plain(fields, result_hosts)]), 12)
    except (TypeError, ValueError) as error:  # a raw endpoint's fields pass no model
        raise InvalidRequest(f"{endpoint}: the request holds what JSON cannot ({error}). Use plain values.")


def is_derived(external_id: str) -> bool:
    """Whether an external_task_id has the format of a derived one."""
    return _DERIVED.fullmatch(external_id) is not None


def namespace_prefix(namespace: str) -> str:
    """What every derived id of a namespace begins with.

    :param namespace: the connection's extra ``namespace``.
    """
    return f"af1-{_digest(namespace, 6)}-"


def identity_of(external_id: str) -> str | None:
    """The part of a derived id that says which piece of work it is; None for any other id."""
    return external_id.split("-")[2] if is_derived(external_id) else None


def check_user_id(value: str) -> str:
    """Return a caller's own external_task_id if it can be one.

    :raises InvalidRequest: for anything else; ``None`` in letters is a template that found nothing.
    """
    is_fit = isinstance(value, str) and _USER_ID.fullmatch(value) is not None and value != "None"
    if is_fit and any(character.isalpha() for character in value):
        return value
    raise InvalidRequest(
        f"external_task_id={show(value, 80)} cannot be used: 1 to 64 of letters, digits, _ and -, with "
        "at least one letter, and not 'None'. Leave it out to have one derived."
    )


def _plain(value: object, result_hosts: Collection[str]) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item, result_hosts) for key, item in value.items() if item is not None}
    if isinstance(value, bytes | bytearray):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, str):
        return _without_signature(value, result_hosts)
    if isinstance(value, Sequence):
        return [_plain(item, result_hosts) for item in value]
    return value


def _without_signature(value: str, result_hosts: Collection[str]) -> str:
    if not _URL.fullmatch(value):
        return value
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port or ""
    except ValueError:  # not an address after all; Kling will say so
        return value
    query = parse_qsl(parts.query, keep_blank_values=True)
    if _RESULT_HOSTS.fullmatch(host) or host in result_hosts:
        kept = [(name, item) for name, item in query if not name.lower().startswith(_RESULT_SIGNATURES)]
        return f"kling-result:{port}{urlunsplit(('', '', parts.path, urlencode(kept), parts.fragment))}"
    if not query:
        return value
    is_signed = any(name.lower() in ("sig", "signature") for name, _ in query)
    signing = _SIGNATURE_NAMES | _BESIDE_A_SIGNATURE if is_signed else _SIGNATURE_NAMES
    kept = [
        (name, item)
        for name, item in query
        if name.lower() not in signing and not name.lower().startswith(_SIGNATURE_PREFIXES)
    ]
    return urlunsplit(parts._replace(query=urlencode(kept)))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(text: str, length: int) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.b32encode(digest).decode().lower()[:length]
