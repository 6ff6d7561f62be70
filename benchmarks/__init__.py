"""What waiting costs: ``make bench``, one table, plots and numbers.

Where is what:

* ``scenarios`` says what is measured; ``__main__`` runs each in a process of its own, prints and writes.
* ``client`` is that process: it starts ``server`` (the simulator, in a third process), and lets each of ``peers``
  wait for the same tasks, by ``batches``, ``windows`` or ``lone``.
* ``clock`` lets both processes' clocks run faster, ``durations`` says how long videos take, ``meters`` measures.
* ``rows`` is what is written; ``table``, ``plots`` and ``shows`` read it, and so does ``capacity``.
"""
