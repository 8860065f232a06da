"""Queues: views on topics, each record settled by itself. Pure logic: no event loop, no clock, no I/O.

Of each partition that a queue reads the state has ``next``: every record below it is settled, unless a
*run* says otherwise. So a record that was acknowledged takes up nothing, and none can be neither pending nor
settled.
"""
