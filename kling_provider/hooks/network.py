"""What a network error means: did the request leave this machine, and what is said about it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import aiohttp
import requests
import urllib3

from kling_provider.api.errors import ApiFailure, Failure, Reaction

if TYPE_CHECKING:
    from kling_provider.hooks.bodies import JsonBody
    from kling_provider.hooks.config import KlingConfig

_REQUESTS_NEVER_SENT = (
    requests.ConnectTimeout,
    requests.exceptions.ProxyError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
)
_AIOHTTP_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.ClientHttpProxyError,
)


class CutShort(ApiFailure):
    """The connection broke before the body was out. Nobody has the request whole: it may be sent again."""


def failed(error: Exception, body: JsonBody | None) -> ApiFailure:
    """Make what is raised for an error of requests or aiohttp.

    :param error: what was raised instead of an answer.
    :param body: what was being sent.
    """
    is_requests = isinstance(error, requests.RequestException)
    never_began = _requests_never_sent(error) if is_requests else isinstance(error, _AIOHTTP_NEVER_SENT)
    is_cut_short = not never_began and body is not None and not body.is_handed_over
    never_sent = never_began or is_cut_short
    state = (
        "the request did not get through" if never_sent else "the connection was lost before an answer came"
    )
    # The text of requests begins with the URL, and the reason is what gets cut off.
    cause = error.args[0] if is_requests and error.args else error
    reason = getattr(cause, "reason", None) or cause
    timed_out = isinstance(error, requests.Timeout | TimeoutError) or isinstance(
        reason, urllib3.exceptions.ReadTimeoutError
    )
    failure = Failure(
        Reaction.SERVER,
        f"{state} ({type(error).__name__}: {reason})",
        never_sent=never_sent,
        timed_out=timed_out and not never_sent,
    )
    return CutShort(failure) if is_cut_short else ApiFailure(failure)


def tls_for(config: KlingConfig) -> bool | ssl.SSLContext:
    """The connection's TLS options, for aiohttp."""
    verify = config.http_extras.get("verify", True)
    cert = config.http_extras.get("cert")
    if verify is False:
        return False
    if verify is True and cert is None:
        return True
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if cert is not None:
        context.load_cert_chain(*([cert] if isinstance(cert, str) else cert))
    return context


def _requests_never_sent(error: Exception) -> bool:
    if isinstance(error, _REQUESTS_NEVER_SENT):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    # An SSLError may also come after the request; only a refused certificate surely came before it.
    is_bad_certificate = "CERTIFICATE_VERIFY_FAILED" in str(reason)
    return is_bad_certificate or isinstance(reason, urllib3.exceptions.NewConnectionError)
