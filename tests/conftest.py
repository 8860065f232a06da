"""For all tests: a connection that comes while its server closes is closed, as later Pythons do it."""

from __future__ import annotations

from tests.support.late_connections import close_late_connections

close_late_connections()
