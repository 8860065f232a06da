"""What benchmarks with real proxies need."""

from tests.chaos.conftest import toxiproxy_binary

__all__ = ["toxiproxy_binary"]
