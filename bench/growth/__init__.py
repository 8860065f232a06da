"""How cost grows: throughput and latency against partitions, sizes, connections, log, replicas and nodes.

``make bench-growth``, or ``python -m bench.growth --help``; docs/PERFORMANCE.md explains what came out.

axes.py         what grows along each axis, on nodes of its own (log_size.py, metadata.py: two that differ)
scale.py        how far the axes go, and how long each measurement takes
titles.py       the axes and loads in words
nodes.py        nodes in a temporary folder, and what can be read off them
connection.py   one HTTP connection that asks again and again; load.py: many of them, and what they ask
meter.py        measurements: rates, and beside them what explains them
rounds.py       the order of rounds, and the bound on their time
figures.py      the figures as JSON
fits.py         a part that stays and a part that grows; derived.py: what the figures come to, in sentences
scaling.py      arithmetic from there to 10 and 100 nodes
table.py        the figures as Markdown, which go into docs/PERFORMANCE.md (document.py)
plot.py         the figures as a picture
"""
