"""A request's body as it goes into the socket: JSON whose files become base64 while they are sent.

A picture of 10 MB is 13.3 MB as base64. Built as one text it would be in memory three times more before the first
byte leaves; here it is encoded piece by piece, once for each request that is sent.
"""

from __future__ import annotations

import binascii
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

#: Bytes of a file that are encoded at a time. A multiple of 3, so that only the last piece is padded.
STEP_BYTES = 3 * 64 * 1024
#: Smaller pieces are put together: each one that is handed over is a packet of its own.
CHUNK_BYTES = 256 * 1024


class JsonBody:
    """Compact JSON in UTF-8, of known length; can be iterated again and gives the same bytes.

    ``requests`` and ``aiohttp`` send what has a length under ``Content-Length``; chunked transfer encoding is not
    understood by every gateway.

    :param fields: of the request; files are bytes.
    """

    def __init__(self, fields: Mapping[str, Any]):
        # Stands where a file belongs until it is sent. Random: no text of a request can hold it.
        mark = secrets.token_hex(16)
        self._files: list[bytes] = []

        def noted(value: object) -> object:
            if isinstance(value, Mapping):
                return dict(value)
            if not isinstance(value, bytes):
                raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
            self._files.append(value)
            return mark

        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=noted)
        self._texts = [piece.encode() for piece in text.split(mark)]
        self._length = sum(map(len, self._texts)) + sum((len(file) + 2) // 3 * 4 for file in self._files)
        #: Whether the last byte was handed over; until then nobody can have the request whole.
        self.is_handed_over = False

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        self.is_handed_over = False
        held: list[bytes] = []
        size = 0
        for piece in self._pieces():
            if size >= CHUNK_BYTES:
                yield b"".join(held)
                held, size = [], 0
            held.append(piece)
            size += len(piece)
        self.is_handed_over = True  # said before: whoever takes the last chunk may fail and have sent it
        yield b"".join(held)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def _pieces(self) -> Iterator[bytes]:
        for text, file in zip(self._texts, self._files, strict=False):
            yield text
            view = memoryview(file)
            for start in range(0, len(view), STEP_BYTES):
                yield binascii.b2a_base64(view[start : start + STEP_BYTES], newline=False)
        yield self._texts[-1]
