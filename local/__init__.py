"""A cluster of node processes on this machine: what ``floodmark dev``, fault injection, tests and benchmarks
start.

Nodes are reached as a user reaches them: started with ``floodmark start``, spoken to through HTTP.
"""
