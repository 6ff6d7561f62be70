"""Every operator that submits to Kling, by its public name; each family stands in a module of its own."""

from __future__ import annotations

from kling_provider.operators.submit import KlingSubmitOperator
from kling_provider.operators.video import KlingImageToVideoOperator, KlingTextToVideoOperator

__all__ = ["KlingImageToVideoOperator", "KlingSubmitOperator", "KlingTextToVideoOperator"]
