"""Working off a queue, beside other systems' consumers with an acknowledgement for each record.

``make bench-queues``, or ``python -m bench.queues --help``; docs/PERFORMANCE.md explains what is measured.
Servers are started, rounds are made and clients run as those of ``bench.peers``.

work.py         the work, identical for all
session.py      all measurements of one system in one round
worker.py       one measurement: the process that holds the client
clients/        how each system's Python client does the work
figures.py      the figures
table.py        the figures as Markdown
"""
