"""A cluster with faults, for tests with and without an event loop; the pytest plugin is made of this.

loop_thread.py  an event loop in the background
cluster.py      the cluster on it
faults.py       the faults of one test, healed after it
account.py      what the report of a failed test says about both
toxiproxy.py    the proxy's server, or skipped tests
"""
