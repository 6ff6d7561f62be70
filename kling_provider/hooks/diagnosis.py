"""Say in one sentence what is wrong with a connection, with free requests only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kling_provider.api.endpoints import ENDPOINTS
from kling_provider.exceptions import (
    KlingAccountError,
    KlingAuthError,
    KlingError,
    KlingServerError,
    KlingTaskNotFoundError,
)

if TYPE_CHECKING:
    from kling_provider.hooks.config import KlingConfig
    from kling_provider.hooks.kling import KlingHook

#: Asking for a task that cannot exist proves the key on gateways that list nothing.
_NO_SUCH_TASK = "0"
#: Somebody looks at the form meanwhile: asked once, and waited for no longer than this to connect and to answer.
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 15.0


def diagnose(hook: KlingHook) -> tuple[bool, str]:
    """Try the connection and tell wrong key, wrong region, clock, right and reachability apart.

    :param hook: of the connection.
    :returns: whether it works, and a sentence for the connection form.
    """
    try:
        config = hook.config
        where = f"{config.gateway.name} at {config.base_url}"
        _ask(_impatient(hook, config))
    except KlingTaskNotFoundError:
        return True, f"Kling answers ({where})."
    except KlingAuthError as error:
        return False, _explain_rejection(hook, error)
    except KlingAccountError as error:
        return False, f"The key is right, but the account may not do this: {error}"
    except KlingServerError as error:
        if error.code:
            return False, f"Kling answers ({where}), but has a problem of its own: {error}"
        status = "does not answer" if error.http_status is None else "answers, but not like Kling"
        return False, f"{where} {status}; check host, proxy and TLS: {error}"
    except KlingError as error:
        return False, str(error)
    return True, f"Kling answers ({where})."


def _impatient(hook: KlingHook, config: KlingConfig) -> KlingHook:
    """A hook of the same key that asks once; what the given one does for others stays as it is."""
    connect, read = config.timeout
    other = type(hook)(hook.kling_conn_id, attempts=1)
    timeout = (min(connect, _CONNECT_SECONDS), min(read, _READ_SECONDS))
    other.__dict__["config"] = replace(config, timeout=timeout)
    other._tokens = hook._tokens
    return other


def _ask(hook: KlingHook) -> None:
    if hook.config.gateway.name == "dmxapi":
        hook.get_task(_NO_SUCH_TASK)
    else:
        hook.list_tasks(next(iter(ENDPOINTS)), page_size=1)


def _explain_rejection(hook: KlingHook, error: KlingAuthError) -> str:
    config = hook.config
    if error.code in (1003, 1004):
        return (
            f"The signature is rejected because the clocks differ; check this machine's time (NTP): {error}"
        )
    for region, host in config.gateway.hosts.items():
        if config.base_url not in config.gateway.hosts.values() or host == config.base_url:
            continue
        try:
            _ask(_impatient(hook, replace(config, base_url=host, region=region)))
        except KlingError:
            continue
        return f"The key belongs to another region: set the extra region to {region!r}."
    return f"The key is wrong: {error}"
