"""Fetch one result into a file: constant memory, resumed where the host allows, never more than asked for."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urljoin

import requests
import tenacity
import urllib3

from kling_provider.api.errors import Failure, Reaction, shorten
from kling_provider.exceptions import KlingBadRequestError, KlingServerError
from kling_provider.hooks.config import KlingConfig
from kling_provider.transfers.addresses import Target, check_target
from kling_provider.transfers.paced import PacedPool, PacedTlsPool, TooSlow

log = logging.getLogger(__name__)

#: Measured per GB on loopback: 0.92 CPU seconds at 64 KiB, 0.69 at 256 KiB, 0.56 at 1 MiB, 0.52 at 4 MiB.
CHUNK_BYTES = 1024 * 1024
MAX_REDIRECTS = 5
ATTEMPTS = 6
#: The host does not take the URL any more (hosts differ in how they say it): Kling is asked for a fresh one.
EXPIRED = frozenset({400, 401, 403, 404, 410})
_MAX_REFRESHES = 2
_SOME_PUBLIC_ADDRESS = "1.1.1.1"
_LEADING_ZEROS = re.compile(r"(?<![^.])0+(?=\d)")


class _Interrupted(Exception):
    """The transfer stopped early; it can go on."""


class _Expired(Exception):
    """The URL is not valid any more."""

    def __init__(self, status: int):
        super().__init__(f"HTTP {status}")
        self.status = status


@dataclass
class Download:
    """One transfer of a URL into a file.

    :param config: of the connection: proxies, TLS, timeouts, allowed hosts. Its key is never sent.
    :param url: where the result lies.
    :param refresh: asks Kling for a fresh URL.
    :param max_bytes: what the file may hold at most.
    """

    config: KlingConfig
    url: str
    refresh: Callable[[], str]
    max_bytes: int

    def __post_init__(self) -> None:
        self._received = 0
        self._etag: str | None = None
        self._refreshes = 0

    def into(self, file: BinaryIO) -> int:
        """Fetch everything into ``file``.

        :returns: its length in bytes.
        :raises KlingServerError: if the host keeps failing; a retry starts over.
        :raises KlingBadRequestError: if the URL leads where it must not, or to too much.
        """
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=20),
            retry=tenacity.retry_if_exception_type((_Interrupted, _Expired)),
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    self._transfer(file)
        except (_Interrupted, _Expired) as error:
            failure = Failure(Reaction.SERVER, str(error), http_status=getattr(error, "status", None))
            raise KlingServerError(
                f"The result could not be fetched, {ATTEMPTS} times in a row: {failure.describe()}. It may "
                "still be at Kling; a retry asks for it again and submits nothing.",
                failure=failure,
            )
        return file.tell()

    def anew_into(self, file: BinaryIO) -> int:
        """Fetch everything once more, from a fresh URL: some hosts answer an expired one with 200 and a page.

        :returns: its length in bytes.
        :raises KlingError: as :meth:`into`, and where Kling tells no fresh URL.
        """
        self.url = self.refresh()
        _start_over(file)
        return self.into(file)

    def _transfer(self, file: BinaryIO) -> None:
        """Fetch what is missing."""
        try:
            response = self._open(file.tell())
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _Interrupted(f"{type(error).__name__}: {error}")
        try:
            if response.status in EXPIRED:
                self._renew(response.status, file)
            if response.status == 416:
                _start_over(file)
                raise _Interrupted("the host cannot resume; starting over")
            if response.status not in (200, 206):
                raise _Interrupted(f"the host answers HTTP {response.status}")
            total = self._place(response, file)
            self._copy(response, file, total)
        finally:
            response.release_conn()
            response.close()

    def _renew(self, status: int, file: BinaryIO) -> None:
        if self._refreshes < _MAX_REFRESHES:
            self._refreshes += 1
            log.info(
                "The result's URL is not valid any more (HTTP %s); asking Kling for a fresh one.", status
            )
            self.url = self.refresh()
            _start_over(file)
        raise _Expired(status)

    def _place(self, response: urllib3.BaseHTTPResponse, file: BinaryIO) -> int | None:
        """Put the file where the answer begins; return the whole length, if the host tells it."""
        length = response.headers.get("Content-Length")
        if response.status == 206:
            begin, total = _content_range(response.headers.get("Content-Range", ""))
            if begin == file.tell():
                return total
            _start_over(file)
            raise _Interrupted("the host resumed at another place; starting over")
        _start_over(file)
        self._etag = response.headers.get("ETag")
        return int(length) if length is not None and length.isdigit() else None

    def _copy(self, response: urllib3.BaseHTTPResponse, file: BinaryIO, total: int | None) -> None:
        if total is not None and total > self.max_bytes:
            raise self._too_much()
        try:
            while chunk := response.read(CHUNK_BYTES):
                if file.tell() + len(chunk) > self.max_bytes:
                    raise self._too_much()
                file.write(chunk)
        except urllib3.exceptions.HTTPError as error:
            slow = [reason for reason in error.args if isinstance(reason, TooSlow)]
            raise _Interrupted(f"the transfer was cut off: {slow[0] if slow else type(error).__name__}")
        if total is not None and file.tell() != total:
            raise _Interrupted(f"{file.tell()} of {total} bytes came")

    def _too_much(self) -> KlingBadRequestError:
        return KlingBadRequestError(
            f"The result is larger than max_bytes={self.max_bytes}; nothing was stored. Raise max_bytes if that "
            "is meant."
        )

    def _open(self, offset: int) -> urllib3.BaseHTTPResponse:
        """Follow redirects by hand, each hop checked, without any credentials."""
        url = self.url
        for _ in range(MAX_REDIRECTS + 1):
            response = self._get(url, offset)
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            response.close()
            try:
                url = urljoin(url, location)
            except ValueError as error:
                raise KlingBadRequestError(
                    f"The result redirects to {shorten(location.partition('?')[0], 120)!r}, which is no web address "
                    f"({error}); it is not fetched."
                )
        raise KlingBadRequestError(
            f"The result redirects more than {MAX_REDIRECTS} times; it is not fetched."
        )

    def _get(self, url: str, offset: int) -> urllib3.BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity", "User-Agent": "airflow-provider-kling"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._etag:
                headers["If-Range"] = self._etag
        if proxy := self._proxy_for(url):  # the proxy resolves names, so their addresses are its to guard
            check_target(url, allowed_hosts=self.config.result_hosts, resolve=_as_written)
            manager = urllib3.ProxyManager(
                proxy,
                proxy_headers=requests.adapters.HTTPAdapter().proxy_headers(proxy),
                timeout=self._timeout(),
                **self._tls(),
            )
            manager.pool_classes_by_scheme = {"http": PacedPool, "https": PacedTlsPool}
            return manager.request(
                "GET", url, headers=headers, preload_content=False, redirect=False, retries=False
            )
        target = check_target(
            url, allowed_hosts=self.config.result_hosts, allow_loopback=self.config.is_loopback
        )
        path = (target.url.path or "/") + (f"?{target.url.query}" if target.url.query else "")
        headers["Host"] = target.url.netloc.rpartition("@")[2]
        *others, last = target.addresses
        for address in others:
            with suppress(urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError):
                return self._ask(target, address, path, headers)
        return self._ask(target, last, path, headers)

    def _proxy_for(self, url: str) -> str | None:
        if self.config.is_loopback:
            return None
        try:
            return self.config.proxy_for(url)
        except ValueError:  # it cannot be read; the check of the target says so
            return None

    def _ask(
        self, target: Target, address: str, path: str, headers: dict[str, str]
    ) -> urllib3.BaseHTTPResponse:
        return self._pool(target, address).urlopen(
            "GET", path, headers=headers, preload_content=False, redirect=False, retries=False
        )

    def _pool(self, target: Target, address: str) -> urllib3.HTTPConnectionPool:
        """Connect to a checked address, but ask for and verify the certificate of the name."""
        if target.url.scheme == "http":
            return PacedPool(address, target.port, timeout=self._timeout())
        host = target.url.hostname
        return PacedTlsPool(
            address,
            target.port,
            timeout=self._timeout(),
            server_hostname=host,
            assert_hostname=host,
            **self._tls(),
        )

    def _timeout(self) -> urllib3.Timeout:
        connect, read = self.config.timeout
        return urllib3.Timeout(connect=connect, read=read)

    def _tls(self) -> dict[str, Any]:
        extras = self.config.http_extras
        verify = extras.get("verify", True)
        if verify is False:
            return {"cert_reqs": "CERT_NONE"}
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") if extras.get("trust_env") is not False else None
        if isinstance(verify, str):
            bundle = verify
        return {
            "cert_reqs": "CERT_REQUIRED",
            "ca_certs": bundle or requests.utils.DEFAULT_CA_BUNDLE_PATH,
        }


def _start_over(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _as_written(host: str, port: int) -> list[str]:
    """The addresses that a host may be read as if it is written as one; a name counts as public.

    A proxy that is asked for 2852039166 or 127.1 connects to the address that is meant by it. 010.0.0.1 is 8.0.0.1 to
    one, 10.0.0.1 to another.
    """
    host = host.encode("idna").decode().removesuffix(".")  # also full-width digits, and other full stops
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1"]
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host.partition("%")[0]))]
    readings = []
    for reading in (host, _LEADING_ZEROS.sub("", host)):
        with suppress(OSError):
            readings.append(socket.inet_ntoa(socket.inet_aton(reading)))
    return readings or [_SOME_PUBLIC_ADDRESS]


def _content_range(value: str) -> tuple[int | None, int | None]:
    """Read ``bytes 5-9/10``."""
    span, _, total = value.removeprefix("bytes ").partition("/")
    begin = span.partition("-")[0]
    return (int(begin) if begin.isdigit() else None, int(total) if total.isdigit() else None)
