"""What a node says when a topic exists with another configuration."""

from __future__ import annotations

import pytest

from node.topics import _differences


@pytest.mark.parametrize(
    ("has", "asked", "words"),
    [
        ({"partitions": 3}, {"partitions": 4}, ["it has 3 partitions, not 4"]),
        ({"partitions": 1}, {"partitions": 2}, ["it has 1 partition, not 2"]),
        ({"replication_factor": 3}, {"replication_factor": 1}, ["its replication_factor is 3, not 1"]),
        ({"partitions": 3}, {"partitions": 3}, []),
    ],
)
def test_a_difference_is_told_in_words(
    has: dict[str, object], asked: dict[str, object], words: list[str]
) -> None:
    """What there is, and what was asked for."""
    assert list(_differences(asked, has)) == words
