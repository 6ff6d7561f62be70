"""uvicorn's HTTP/1.1 protocol, able to close a connection without an answer."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from kling_provider.simulator.gate import CUT, Receive, Scope, Send


class CuttableProtocol(H11Protocol):
    """Offers the ASGI extension :data:`~kling_provider.simulator.gate.CUT` to every request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the app for this connection."""
        super().connection_made(transport)
        self.access_log = False  # the journal has it, and a test's log capture should not
        app: Any = self.app

        def cut(flush: bool) -> None:
            if flush:
                transport.close()  # what was written still goes out
            else:
                transport.abort()

        async def with_cut(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[CUT] = cut
            await app(scope, receive, send)

        self.app = with_cut
