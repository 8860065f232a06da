"""Consuming in a group: Floodmark beside Kafka's groups and durable consumers of NATS JetStream, in one run.

``make bench-group-consumers``, or ``python -m bench.group_consumers --help``; docs/PERFORMANCE.md explains
what is measured. Servers are started, and clients run, as those of ``bench.peers``.

variants.py     what is compared, and how each is set
work.py         how much of it is done
session.py      all measurements of one system in one round
worker.py       one measurement: the process that holds the client
clients/        how each system's Python client does the work
watch.py        when the records and commits of a running consumer came
figures.py      the figures, and what they are called
table.py        the figures as Markdown
"""
