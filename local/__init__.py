"""A cluster of node processes on this machine, for ``floodmark dev``, fault injection, tests and benchmarks.

Nodes are used as a user would: started with ``floodmark start``, and asked over HTTP.
"""
