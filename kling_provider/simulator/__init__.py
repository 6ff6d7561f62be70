"""A Kling that runs on loopback: no key, no account, real HTTP, real MP4s.

``python -m kling_provider.simulator`` runs it from a shell, :class:`~kling_provider.simulator.server.SimulatorServer`
from Python, and the fixtures of :mod:`kling_provider.simulator.testing` in a test suite. It needs the
extra ``simulator``.
"""
