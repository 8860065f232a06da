"""A node's own limit of file descriptors, which shells set low."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from node import descriptors

LOW = 600


@pytest.fixture
def hard() -> Iterator[int]:
    """The system's limit, with a low one for this process until the test is over."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LOW, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_node_takes_all_descriptors_that_it_may_have(hard: int) -> None:
    """The limit of the shell is lifted to the system's."""
    limit = descriptors.take_all()
    assert limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert limit == (descriptors.WANTED if hard == resource.RLIM_INFINITY else min(hard, descriptors.WANTED))
    assert limit > LOW


def test_few_descriptors_are_told(hard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system allows no more, the log says what to do."""
    monkeypatch.setattr(descriptors, "WANTED", LOW)
    with capture_logs() as lines:
        assert descriptors.take_all() == LOW
    assert [line["event"] for line in lines] == ["few_file_descriptors"]
