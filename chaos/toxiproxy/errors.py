"""What can be wrong with Toxiproxy.

ToxiproxyError
├── ToxiproxyMissing   there is no server binary, and none could be built
└── ToxiproxyFailed    the server does not start, or refuses what it is told
"""

from __future__ import annotations


class ToxiproxyError(Exception):
    """Base of all."""


class ToxiproxyMissing(ToxiproxyError):
    """No server binary. ``reason`` says why it is missing, ``fix`` is one line that says what to do."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"{reason}; {fix}")
        self.reason = reason
        self.fix = fix


class ToxiproxyFailed(ToxiproxyError):
    """The server does not start, or refuses what it is told."""
