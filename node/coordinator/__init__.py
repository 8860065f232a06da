"""The coordinator: state of groups in the shards of an internal topic, decided by the leaders of the shards.

``groups/`` is pure logic: no event loop, no clock, no I/O. A step looks at one group's committed state and
says which pairs of key and value to write; replicas only ever apply pairs.
"""
