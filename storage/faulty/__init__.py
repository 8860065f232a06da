"""A real filesystem that fails when it is told to, and that can lose what was not synced. For tests only.

conditions.py   which faults are in force now; one process sets them while another one runs under them
unsynced.py     what a loss of power could take: kept up from events, with no I/O
trace.py        those events on disk, so that they outlive the process
filesystem.py   the port (storage/filesystem.py) over a folder of the operating system
power_loss.py   takes what was not synced, once the process is gone
"""
