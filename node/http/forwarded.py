"""The header of requests that nodes of earlier builds pass on (see ``HttpContext.is_passed_on``)."""

from __future__ import annotations

from typing import Final

FORWARDED: Final = "Floodmark-Forwarded"
"""Nodes of peer protocols below 6 put their cluster's mark here. Any other value says nothing."""
