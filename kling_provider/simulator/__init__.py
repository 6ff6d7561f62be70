"""A Kling that runs on loopback: no key, no account, real HTTP, real MP4s, PNGs, MP3s and WAVs.

``python -m kling_provider.simulator`` runs it from a shell, :class:`~kling_provider.simulator.server.SimulatorServer`
from Python, and the fixtures of :mod:`kling_provider.simulator.testing` in a test suite. It needs the
extra ``simulator``.

Where is what:

* A request comes in through ``gate`` (journal, faults) and ``doors`` (one per path of the endpoint table), and
  ``taking`` leads it on.
* ``validation`` holds it against the rules and makes an ``asked.Asked`` of it; ``wire``, ``pictures``, ``inputs``,
  ``lengths`` and ``archive`` each look at one thing; ``ordering`` adds what it costs and gives.
* ``results`` says what a task gives, one module per kind; ``calls`` answers what is over at once. Both have a
  ``table`` to begin with.
* ``settings`` holds all that can be turned while it runs: how fast it is, what it refuses or ignores, how it tells
  addresses, and the weaknesses of gateways; ``faults`` what goes wrong on the way.
* ``world`` books it: ids, slots, ledger, time; ``shelves`` keeps its lists in order, ``foreign`` and ``crowd`` fill
  it with many tasks. ``telling`` says it in the dialect that was spoken.
* Files are made when they are fetched: ``studio`` has ``render`` (films), ``draw`` (pictures), ``music`` (sounds).
"""
