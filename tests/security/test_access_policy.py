"""What the policy says: who is refused in which words, what it remembers, and that it forgets in time."""

from __future__ import annotations

from typing import Any

import pytest
from floodmark.errors import FloodmarkError, Forbidden, InvalidName, Unauthorized, UnknownTopic

from node import outcomes
from node.metadata.command import Command
from node.metadata.domains.acls import AddAcls, RemoveAcls
from node.metadata.domains.users import (
    BootstrapAdministrator,
    CreateUser,
    MakeAdministrator,
    UnmakeAdministrator,
)
from node.metadata.state import INTERNAL_PREFIX, AclEntry
from node.security import access_policy
from node.security.access_policy import AccessPolicy
from node.service.policy import CLUSTER, AllowAll, Operation, group, queue, topic
from node.service.request_context import ANONYMOUS, RequestContext
from tests.node.test_user_commands import Cluster, token
from tests.security.test_acl import entry, on_cluster

INTERNAL = f"{INTERNAL_PREFIX}audit"


class Judged:
    """The policy of a node that follows a cluster's metadata."""

    def __init__(self, *entries: AclEntry) -> None:
        self.cluster = Cluster()
        self.policy = AccessPolicy()
        self.cluster.machine.follow(self.policy.metadata_changed)
        self.does(BootstrapAdministrator(token("t", "admin")))
        if entries:
            self.does(AddAcls(entries))

    def does(self, command: Command) -> None:
        """The cluster changes."""
        self.cluster.does(command)

    def error(self, principal: str, operation: Operation, name: str = "orders") -> FloodmarkError | None:
        """What somebody is told who wants to do that to a topic; without a name, to the cluster."""
        context = RequestContext(protocol="test", principal=principal)
        try:
            self.policy.authorize(context, operation, topic(name) if name else CLUSTER)
        except FloodmarkError as error:
            return error
        return None

    def kind(self, *asked: Any) -> type[FloodmarkError] | None:
        """The class of that."""
        error = self.error(*asked)
        return None if error is None else type(error)


def test_administrators_may_do_everything_and_others_nothing() -> None:
    """Whatever the entries say of an administrator; from the moment that it is one, until it is none."""
    judged = Judged(entry("admin", operation="all", allow=False), on_cluster("all", allow=False))
    for operation in Operation:
        assert judged.kind("admin", operation) is None
        assert judged.kind("admin", operation, "") is None
        assert judged.kind("ann", operation, "") is Forbidden
    judged.does(CreateUser("ann", 1))
    judged.does(MakeAdministrator("ann"))
    assert judged.kind("ann", Operation.DELETE) is None
    judged.does(UnmakeAdministrator("ann"))
    assert judged.kind("ann", Operation.DELETE) is UnknownTopic


def test_what_may_not_be_described_is_not_there() -> None:
    """In the very words of what is not there; what may be described is forbidden by name."""
    judged = Judged(entry())
    for operation in Operation:
        hidden = judged.error("bob", operation)
        if operation is Operation.CREATE:
            assert isinstance(hidden, Forbidden)
            continue
        unknown = outcomes.unknown_topic("orders")
        assert hidden is not None
        assert (type(hidden), hidden.detail, hidden.fields) == (UnknownTopic, unknown.detail, unknown.fields)
    error = judged.error("ann", Operation.WRITE)
    assert isinstance(error, Forbidden)
    assert "ann may not write topic orders" in error.detail
    assert "floodmark acl add --user ann --topic orders --operation write" in error.detail
    assert judged.kind("ann", Operation.READ) is None


def test_a_name_that_can_be_no_topics_is_refused_as_such() -> None:
    """As it is to whoever may do everything, by what looks for it."""
    assert Judged().kind("ann", Operation.READ, "a$b") is InvalidName


def test_a_refusal_tells_of_an_entry_that_can_be_made() -> None:
    """Groups have names that no entry has, and that a shell would take apart."""
    judged = Judged()
    context = RequestContext(protocol="test", principal="ann")
    with pytest.raises(Forbidden, match="`floodmark acl add --user ann --group billing --operation read`"):
        judged.policy.authorize(context, Operation.READ, group("billing"))
    for name in ("a b", "b\u00e4d", "$(reboot)", "*", "g" * 250):
        with pytest.raises(Forbidden) as told:
            judged.policy.authorize(context, Operation.READ, group(name))
        assert "acl add" not in told.value.detail
        assert "one for a prefix of its name" in told.value.detail
        with pytest.raises(InvalidName):
            judged.policy.authorize(context, Operation.READ, queue(name))


def test_who_has_not_said_who_it_is_is_asked() -> None:
    """Whatever it wants; unless an entry is about just such."""
    judged = Judged(entry("*"))
    for operation in Operation:
        assert judged.kind(ANONYMOUS, operation) is Unauthorized
        assert judged.kind(ANONYMOUS, operation, "") is Unauthorized
    assert judged.kind(ANONYMOUS, Operation.READ, INTERNAL) is Unauthorized
    assert not judged.policy.admits_anonymous
    judged.does(AddAcls((entry(ANONYMOUS, name="news"),)))
    assert judged.policy.admits_anonymous
    assert judged.kind(ANONYMOUS, Operation.READ, "news") is None
    assert judged.kind(ANONYMOUS, Operation.READ) is Unauthorized


def test_internal_topics_are_administrators_to_see_and_nobodys_to_write() -> None:
    """Whatever the entries say; an administrator may set how long they are kept."""
    judged = Judged(entry("*", "all", "", prefix=True), on_cluster("all"))
    for operation in Operation:
        closed = operation in (Operation.WRITE, Operation.CREATE, Operation.DELETE)
        assert judged.kind("admin", operation, INTERNAL) is (Forbidden if closed else None)
        expected = Forbidden if operation is Operation.CREATE else UnknownTopic
        assert judged.kind("ann", operation, INTERNAL) is expected
    assert judged.kind("ann", Operation.READ, "__floodmarkx") is None


def test_where_nobody_is_asked_internal_topics_are_closed_as_well() -> None:
    """Everybody sees and reads them there, as an administrator does elsewhere."""
    context = RequestContext(protocol="test")
    for operation in (Operation.WRITE, Operation.CREATE, Operation.DELETE):
        AllowAll().authorize(context, operation, topic("orders"))
        with pytest.raises(Forbidden, match="are the cluster's own"):
            AllowAll().authorize(context, operation, topic(INTERNAL))
    AllowAll().authorize(context, Operation.READ, topic(INTERNAL))


def test_a_right_ends_with_its_entry() -> None:
    """Also one that was used, and is remembered; a snapshot in place of the state is no exception."""
    judged = Judged(entry())
    assert judged.kind("ann", Operation.READ) is None
    judged.does(RemoveAcls((entry(),)))
    assert judged.kind("ann", Operation.READ) is UnknownTopic
    judged.does(AddAcls((entry(),)))
    assert judged.kind("ann", Operation.READ) is None
    judged.does(AddAcls((entry("*", allow=False),)))
    assert judged.kind("ann", Operation.READ) is Forbidden, "it may still describe it"
    later = Cluster()
    later.does(BootstrapAdministrator(token("t", "admin")))
    for number in range(9):
        later.does(AddAcls((entry("bob", name=f"t{number}"),)))
    assert judged.kind("admin", Operation.READ) is None
    judged.cluster.machine.restore(later.machine.snapshot())
    assert judged.kind("bob", Operation.READ, "t1") is None
    assert judged.kind("ann", Operation.READ) is UnknownTopic


def test_a_decision_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is allowed is looked up and not decided again; what is refused fills no memory."""
    judged = Judged(entry("*", "all", "", prefix=True))
    decided: list[str] = []
    index = judged.policy._index
    monkeypatch.setattr(
        index, "allows", lambda asked, allows=index.allows: (decided.append(asked.name), allows(asked))[1]
    )
    for _ in range(3):
        assert judged.kind("ann", Operation.READ) is None
    assert decided == ["orders"]
    monkeypatch.setattr(access_policy, "DECISIONS_MAX", 10)
    for number in range(25):
        assert judged.kind("ann", Operation.READ, f"t{number}") is None
        assert judged.kind("ann", Operation.READ, "") is Forbidden
        assert len(judged.policy._allowed) <= 10


def test_before_it_is_told_anything_it_allows_nothing() -> None:
    """A node that has just started knows no administrator either."""
    with pytest.raises(UnknownTopic):
        AccessPolicy().authorize(
            RequestContext(protocol="test", principal="admin"), Operation.READ, topic("orders")
        )
