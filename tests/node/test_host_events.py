"""Who is told when a group of this node is led by it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from node.replicas.host_events import HostEvents

GROUP = 7


@pytest.mark.parametrize("commits_first", [True, False], ids=["of one replica", "of three"])
def test_a_lead_is_told_of_whether_its_first_commit_is_past_or_not(*, commits_first: bool) -> None:
    """A group of one replica elects itself and commits in one step, and the host tells the commit first."""
    stub: Any = SimpleNamespace(leadership=lambda *_: None, peer_up=None, peer_down=None)
    stub.announce = stub.answer = stub.heard = stub.told = None
    metrics: Any = SimpleNamespace(leader_changes=SimpleNamespace(inc=lambda: None))
    events = HostEvents("n1", metrics)
    hooks = events.hooks(stub, stub, stub)
    told: list[int] = []
    events.group_news.follow(told.append)
    if commits_first:
        hooks.on_commit(GROUP)
        assert told == []
    hooks.on_leadership(GROUP, "n1", 3)
    assert told == [GROUP]
    hooks.on_commit(GROUP)
    assert told == [GROUP, GROUP], "it may change its members since now"
    hooks.on_commit(GROUP)
    hooks.on_leadership(GROUP, "n2", 4)
    hooks.on_commit(GROUP)
    assert told == [GROUP, GROUP], "nothing is new, or another one leads"
