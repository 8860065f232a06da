"""What becomes of entries that say who may do what."""

from __future__ import annotations

import pytest
from floodmark.errors import Conflict, InvalidRequest

from node.metadata.domains.acls import ACLS_AT_ONCE_MAX, ACLS_MAX, AddAcls, RemoveAcls
from node.metadata.domains.users import CreateUser, DeleteUser
from node.metadata.levels import QUEUES
from node.metadata.state import AclEntry
from tests.node.test_user_commands import Cluster


def acl(
    principal: str = "ann",
    operation: str = "read",
    name: str = "orders",
    *,
    kind: str = "topic",
    pattern: str = "literal",
    allow: bool = True,
) -> AclEntry:
    """One of them."""
    return AclEntry(principal, kind, pattern, name, operation, allow)


def test_an_entry_is_there_once_or_not_at_all() -> None:
    """Added or removed again, nothing changes, and nobody is told; a denial is another entry."""
    cluster = Cluster()
    entries = (acl("zoe"), acl(), acl(allow=False))
    assert cluster.does(AddAcls((*entries, acl()))) == 3
    assert cluster.told == [{"acls"}]
    assert cluster.does(AddAcls(entries)) == 0
    assert cluster.machine.state.acls == (acl(allow=False), acl(), acl("zoe")), "in order of principals"
    assert cluster.does(RemoveAcls((acl(), acl("bob")))) == 1
    assert cluster.does(RemoveAcls((acl(),))) == 0
    assert cluster.told == [{"acls"}] * 2
    assert cluster.machine.state.acls == (acl(allow=False), acl("zoe"))


def test_with_a_user_goes_what_it_was_allowed_to_do() -> None:
    """Whoever comes later under its name gets nothing of it; what was forbidden stays so."""
    cluster = Cluster()
    cluster.does(CreateUser("ann", 5))
    cluster.does(AddAcls((acl(), acl(allow=False), acl("zoe"))))
    cluster.does(DeleteUser("ann"))
    assert cluster.told[-1] == {"users", "acls"}
    assert cluster.machine.state.acls == (acl(allow=False), acl("zoe"))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (acl("a b"), "'a b' is not a user's name"),
        (acl(kind="table"), "'table' is not a kind of resource: one of topic, group, stream, queue, cluster"),
        (acl(operation="drop"), "'drop' is not an operation: one of read, write"),
        (acl(pattern="glob"), "'glob' is not a pattern: one of literal, prefix"),
        (acl(name=""), "which topic? With the pattern prefix an empty name is every topic"),
        (acl(name="*"), "for every topic there is the pattern prefix and an empty name"),
        (acl(name="..", kind="group"), "not . or .."),
        (acl(name="x" * 250), "is not a valid name"),
        (acl(name="x" * 250, pattern="prefix"), "is not a valid name"),
        (acl(kind="cluster"), "there is one cluster: its name is empty"),
        (acl(kind="cluster", name="", pattern="prefix"), "there is one cluster: its name is empty"),
    ],
)
def test_what_no_node_could_judge_by_is_no_entry(entry: AclEntry, words: str) -> None:
    """One of them refuses all."""
    Cluster().refused(AddAcls((acl(), entry)), InvalidRequest, words)


def test_what_can_be_said_in_an_entry() -> None:
    """Everybody, nobody in particular, beginnings of names, the cluster."""
    entries = (
        acl("*"),
        acl("anonymous"),
        acl(pattern="prefix", name=""),
        acl(pattern="prefix", name=".."),
        acl(pattern="prefix", name="x" * 249),
        acl(kind="cluster", name="", operation="all"),
    )
    assert Cluster().does(AddAcls(entries)) == len(entries)


def test_an_entry_for_queues_waits_until_every_node_knows_queues() -> None:
    """A build that does not know the kind would not keep a denial of it."""
    for entry in (acl(kind="queue", name="jobs"), acl(kind="queue", name="", pattern="prefix", allow=False)):
        Cluster().refused(AddAcls((acl(), entry)), Conflict, f"this needs feature level {QUEUES}")
        assert Cluster(QUEUES).does(AddAcls((acl(), entry))) == 2


def test_there_are_so_many_entries_and_no_more() -> None:
    """A full table still takes what it has, and what is removed makes place."""
    cluster = Cluster()
    many = [acl(name=f"t{number}") for number in range(ACLS_MAX + 1)]
    cluster.refused(AddAcls(tuple(many[: ACLS_AT_ONCE_MAX + 1])), InvalidRequest, "at once")
    for begin in range(0, ACLS_MAX, ACLS_AT_ONCE_MAX):
        cluster.does(AddAcls(tuple(many[begin : begin + ACLS_AT_ONCE_MAX])))
    cluster.refused(AddAcls((many[-1],)), Conflict, "the cluster has 10000 entries")
    assert cluster.does(AddAcls((many[0],))) == 0
    assert cluster.does(RemoveAcls((many[0],))) == 1
    assert cluster.does(AddAcls((many[-1],))) == 1
