"""Who is told when a group of this node is led by it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from consensus.host.host_types import HostHooks
from node.replicas.host_events import HostEvents

GROUP = 7


def _events(peer_down: Any = None) -> tuple[HostEvents, HostHooks]:
    stub: Any = SimpleNamespace(leadership=lambda *_: None, peer_up=None, peer_down=peer_down)
    stub.announce = stub.answer = stub.heard = stub.told = stub.tls_refused = None
    metrics: Any = SimpleNamespace(leader_changes=SimpleNamespace(inc=lambda: None))
    events = HostEvents("n1", metrics)
    return events, events.hooks(stub, stub, stub)


def test_a_node_that_hands_over_hears_of_a_peer_that_leaves() -> None:
    """It may have been the one to take over: a cluster that stops as a whole waits for nobody."""
    gone: list[str] = []
    events, hooks = _events(peer_down=gone.append)
    hooks.on_peer_down("n2")
    assert (events.leadership_changed.is_set(), gone) == (True, ["n2"])


def test_a_lead_is_told_of_with_its_first_commit() -> None:
    """Members can be changed from then on. Not again with later commits, nor where another node leads."""
    events, hooks = _events()
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
