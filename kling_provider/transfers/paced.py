"""Connections of urllib3 that give up a host which sends next to nothing."""

from __future__ import annotations

import http.client
import io
import time
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

#: A host that has begun is given up when less than this came while it was waited for so long. The read timeout does not
#: end a transfer that brings one byte every 50 seconds: it begins anew with each.
SLOWEST_BYTES_PER_SECOND = 1024
PACE_SECONDS = 60.0


class TooSlow(OSError):
    """The host sends next to nothing."""


class _Paced(io.RawIOBase):
    """What a socket receives, as long as enough comes.

    It counts at the socket, where one look at the clock costs nothing: to ask urllib3 for whatever has come (read1)
    took twice the CPU over TLS, which comes in pieces of 16 KiB. So the headers of an answer are counted too.
    """

    def __init__(self, raw: io.RawIOBase):
        self._raw = raw
        self._came = 0
        self._waited = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        began = time.monotonic()
        count = self._raw.readinto(buffer)
        if self._came:  # the first wait is for the host to begin; the read timeout is its limit
            self._waited += time.monotonic() - began
        self._came += count or 0
        if self._waited >= PACE_SECONDS and count:
            if self._came < self._waited * SLOWEST_BYTES_PER_SECOND:
                raise TooSlow(f"{self._came} bytes came in {self._waited:.0f} s")
            self._came, self._waited = 0, 0.0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedResponse(http.client.HTTPResponse):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fp = io.BufferedReader(_Paced(self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _PacedResponse


class _TlsConnection(HTTPSConnection):
    response_class = _PacedResponse


class PacedPool(urllib3.HTTPConnectionPool):
    """A pool of such connections."""

    ConnectionCls = _Connection


class PacedTlsPool(urllib3.HTTPSConnectionPool):
    """The same, over TLS."""

    ConnectionCls = _TlsConnection
