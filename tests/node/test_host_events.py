"""Who is told when a group of this node is led by it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from node.replicas.host_events import HostEvents

GROUP = 7


def test_a_lead_is_told_of_with_its_first_commit() -> None:
    """Members can be changed from then on. Not again with later commits, nor where another node leads."""
    stub: Any = SimpleNamespace(leadership=lambda *_: None, peer_up=None, peer_down=None)
    stub.announce = stub.answer = stub.heard = stub.told = stub.tls_refused = None
    metrics: Any = SimpleNamespace(leader_changes=SimpleNamespace(inc=lambda: None))
    events = HostEvents("n1", metrics)
    hooks = events.hooks(stub, stub, stub)
    told: list[int] = []
    events.group_news.follow(told.append)
    hooks.on_commit(GROUP)
    hooks.on_leadership(GROUP, "n1", 3)
    assert told == []
    hooks.on_commit(GROUP)
    hooks.on_commit(GROUP)
    assert told == [GROUP]
    hooks.on_leadership(GROUP, "n2", 4)
    hooks.on_commit(GROUP)
    hooks.on_leadership(GROUP, "n1", 5)
    assert told == [GROUP]
    hooks.on_commit(GROUP)
    assert told == [GROUP, GROUP]
