"""Queues as the leader of their shard serves them: reading ahead, delivering, what is due, dead letters.

What is decided about them is in ``node/coordinator/queues``, as pure functions; here are the event loop, the
clocks and the other partitions.
"""
