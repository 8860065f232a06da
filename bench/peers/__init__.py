"""Floodmark compared with NATS JetStream, Kafka, Redis Streams and etcd: same machine, same work, one by one.

``make bench-peers``, or ``python -m bench.peers --help``; docs/PERFORMANCE.md explains what is measured.

variant.py      what one system in one configuration is, and what it promises when it acknowledges
systems.py      all variants
servers/        how each system is started: configuration files, commands, when it is ready
clients/        how each system's Python client does the work; runs in an environment of its own
work.py         the work, identical for all
worker.py       one measurement: the process that holds the client
session.py      all measurements of one variant, in one round
results.py      the figures as JSON
table.py        the figures as Markdown
document.py     which go into docs/PERFORMANCE.md
plot.py         the figures as a picture
tools.py        what has to be installed, in a folder of its own
syncs.py        how often each system really waits for the disk

``bench.queues`` and ``bench.group_consumers`` compare other work of the same systems. They share, besides
the servers, tools and variants:

rounds.py       the order of rounds, the bound on their time, and what is noted
starting.py     servers for as long as something is measured
worker_process.py, worker_main.py
                a worker process from the outside and from the inside
"""
