"""What all tests of links between nodes need."""

from __future__ import annotations

import pytest

from consensus.links import bulk_links


@pytest.fixture(autouse=True)
def _patient_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is held up while it dials for a request goes on: that is no end of the request."""
    monkeypatch.setattr(bulk_links, "_DIAL_S", 60.0)
