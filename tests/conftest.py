"""For all tests: a connection that comes while its server closes is closed, as later Pythons do it. And no
test with drawn input fails since the machine is slow.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.support.late_connections import close_late_connections

close_late_connections()
settings.register_profile(
    "busy", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")
