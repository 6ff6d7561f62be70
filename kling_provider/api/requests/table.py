"""Which request model belongs to which endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kling_provider.api.requests.parts import KlingRequest
from kling_provider.api.requests.video import Image2VideoRequest, Text2VideoRequest

REQUESTS: Mapping[str, type[KlingRequest]] = MappingProxyType(
    {
        "text2video": Text2VideoRequest,
        "image2video": Image2VideoRequest,
    }
)
