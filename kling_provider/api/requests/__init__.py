"""What may be asked of each endpoint: one pydantic model per endpoint, one module per family.

A new endpoint is one model here, a row of the table, and a row in ``endpoints.py``.
"""

from __future__ import annotations

from kling_provider.api.requests.checking import CheckedRequest, Validate, check_literals, check_request
from kling_provider.api.requests.parts import WORDS, KlingRequest, looks_like_base64
from kling_provider.api.requests.table import REQUESTS

__all__ = [
    "REQUESTS",
    "WORDS",
    "CheckedRequest",
    "KlingRequest",
    "Validate",
    "check_literals",
    "check_request",
    "looks_like_base64",
]
