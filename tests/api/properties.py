"""How often a property is tried: enough to find what is wrong, few enough for seconds, the same every run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

promise = settings(
    max_examples=120, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
