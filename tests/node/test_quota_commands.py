"""What becomes of quotas in the metadata."""

from __future__ import annotations

import math

import pytest
from floodmark.errors import Conflict, InvalidRequest, NotFound

from node.metadata.domains import quotas
from node.metadata.domains.quotas import LIMITS, QUOTAS_MAX, RemoveQuota, SetQuota
from node.metadata.domains.users import CreateUser, DeleteUser
from node.metadata.levels import PARTITION_QUOTAS
from node.metadata.state import QuotaEntry
from tests.node.test_user_commands import Cluster


def quota(principal: str = "ann", **limits: float) -> SetQuota:
    """One of them."""
    return SetQuota(QuotaEntry(principal, limits or {"requests_per_s": 5}))


def test_a_principal_has_one_quota_and_the_last_one_is_whole() -> None:
    """What the new one does not limit is not limited; set again as it is, nobody is told."""
    cluster = Cluster()
    first = cluster.does(quota(requests_per_s=5, connections=2))
    assert list(first.limits) == ["requests_per_s", "connections"], "in the order in which they are listed"
    assert cluster.does(quota(produce_bytes_per_s=4096)) == QuotaEntry("ann", {"produce_bytes_per_s": 4096})
    assert cluster.told == [{"quotas"}] * 2
    cluster.does(quota(produce_bytes_per_s=4096.0))
    assert cluster.told == [{"quotas"}] * 2
    cluster.does(quota("*"))
    cluster.does(quota("anonymous"))
    assert list(cluster.machine.state.quotas) == ["*", "ann", "anonymous"]
    assert cluster.does(RemoveQuota("ann")) == QuotaEntry("ann", {"produce_bytes_per_s": 4096})
    cluster.refused(RemoveQuota("ann"), NotFound, "ann has no quota of its own")
    assert list(cluster.machine.state.quotas) == ["*", "anonymous"]


def test_a_quota_stays_when_its_user_goes() -> None:
    """Like what is forbidden to it: whoever deletes itself and comes again gets no more."""
    cluster = Cluster()
    cluster.does(CreateUser("ann", 5))
    cluster.does(quota())
    cluster.does(DeleteUser("ann"))
    assert list(cluster.machine.state.quotas) == ["ann"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (quota("a b"), "'a b' is not a user's name"),
        (SetQuota(QuotaEntry("ann", {})), "a quota limits something: produce_bytes_per_s"),
        (quota(speed=5), "'speed' is not a limit of a quota: one of produce_bytes_per_s"),
        (quota(requests_per_s=0.5), "requests_per_s is at least 1; remove it"),
        (quota(fetch_bytes_per_s=1023), "fetch_bytes_per_s is at least 1024"),
        (quota(produce_bytes_per_s=math.inf), "produce_bytes_per_s is at least 1024"),
        (quota(produce_bytes_per_s=math.nan), "produce_bytes_per_s is at least 1024"),
        (quota(connections=1.5), "connections is a whole number, not 1.5"),
        (quota(inflight_bytes=-1), "inflight_bytes is at least 1024"),
    ],
)
def test_what_no_node_could_hold_anybody_to_is_no_quota(command: SetQuota, words: str) -> None:
    """One limit refuses all."""
    Cluster().refused(command, InvalidRequest, words)


def test_the_least_of_each_limit_is_taken() -> None:
    """Whoever sets that by mistake can still undo it. What came later needs a later level."""
    cluster, every = Cluster(), quota(**{name: float(least) for name, least in LIMITS.items()})
    cluster.refused(every, Conflict, "this needs feature level 6")
    Cluster(PARTITION_QUOTAS).does(every)


def test_there_are_so_many_quotas_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full table still takes another one for whoever has one, and what is removed makes place."""
    assert QUOTAS_MAX == 10_000
    monkeypatch.setattr(quotas, "QUOTAS_MAX", 3)
    cluster = Cluster()
    for name in ("ann", "bob", "eve"):
        cluster.does(quota(name))
    cluster.refused(quota("zoe"), Conflict, "the cluster has 3 quotas")
    cluster.does(quota("eve", connections=3))
    cluster.does(RemoveQuota("ann"))
    cluster.does(quota("zoe"))
