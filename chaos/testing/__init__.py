"""A cluster with faults, for tests with and without an event loop: what the pytest plugin is made of.

loop_thread.py  an event loop in the background
cluster.py      the cluster on it
faults.py       what is put onto the cluster during one test, and healed after it
account.py      what the report of a failed test says about both
toxiproxy.py    the proxy's server, or skipped tests
"""
