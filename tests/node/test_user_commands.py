"""What becomes of users, passwords, tokens and administrators, and that they wait for feature level 4."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from floodmark.errors import Conflict, FloodmarkError, InvalidRequest, NotFound
from floodmark.format.frame import Frame, FrameKind, crc_of

from node.metadata import commands
from node.metadata.command import Command
from node.metadata.domains.acls import AddAcls, RemoveAcls
from node.metadata.domains.features import RaiseLevel
from node.metadata.domains.nodes import RegisterNode
from node.metadata.domains.quotas import RemoveQuota, SetQuota
from node.metadata.domains.tokens import LOGINS_MAX, TOKENS_MAX, AddToken, RevokeToken
from node.metadata.domains.users import (
    BootstrapAdministrator,
    CreateUser,
    DeleteUser,
    MakeAdministrator,
    ResetAdministrator,
    SetPassword,
    UnmakeAdministrator,
)
from node.metadata.levels import MEMBERSHIP, QUEUES, SECURITY
from node.metadata.machine import MetadataMachine
from node.metadata.state import QuotaEntry, TokenEntry, Verifier

MEMBERS = ("users", "tokens", "administrators", "acls", "quotas")
VERIFIERS = (Verifier("SCRAM-SHA-256", b"\x00salt", 4096, b"\xffstored", b"server"),)


class Cluster:
    """Its metadata, to which commands are given; every one twice, to a second replica."""

    def __init__(self, level: int = SECURITY) -> None:
        self.machine = MetadataMachine()
        self.other = MetadataMachine()
        self.told: list[frozenset[str]] = []
        self.does(RegisterNode("n1", "h", "p", "i", levels=(1, QUEUES)))
        if level > 1:
            self.does(RaiseLevel(level))
        self.machine.follow(lambda _, delta: self.told.append(delta.members))

    def outcome(self, command: Command) -> Any:
        """What a command comes to. A refused one has changed nothing, and is told to nobody."""
        index = self.machine.state.applied_index + 1
        payload = commands.encode(command)
        before = msgspec.structs.replace(self.machine.state, applied_index=index)
        told = len(self.told)
        for machine in (self.machine, self.other):
            machine.apply(Frame(index, 1, 0, 0, 0, FrameKind.COMMAND, payload, crc_of(payload)))
        assert self.machine.snapshot() == self.other.snapshot()
        self.other = MetadataMachine()
        self.other.restore(self.machine.snapshot())
        assert self.other.state == self.machine.state
        outcome = self.machine.outcome(index)
        if isinstance(outcome, FloodmarkError):
            assert self.machine.state == before
            assert len(self.told) == told
        return outcome

    def does(self, command: Command) -> Any:
        """It is done."""
        outcome = self.outcome(command)
        assert not isinstance(outcome, FloodmarkError), outcome
        return outcome

    def refused(self, command: Command, kind: type[FloodmarkError], words: str) -> None:
        """It is not done, and said why."""
        outcome = self.outcome(command)
        assert type(outcome) is kind, outcome
        assert words in outcome.detail

    @property
    def tokens(self) -> list[str]:
        """The ids, in order."""
        return sorted(self.machine.state.tokens)


def token(
    token_id: str, user: str = "ann", at: int = 1_000, *, expires: int = 0, login: bool = False
) -> TokenEntry:
    """One of them."""
    return TokenEntry(token_id, user, b"\xfe" + token_id.encode(), at, expires, "wxyz", login)


EVERY_COMMAND: list[Command] = [
    CreateUser("bob", 1, VERIFIERS),
    DeleteUser("ann"),
    SetPassword("ann", VERIFIERS),
    AddToken(token("t1")),
    RevokeToken("ann", "t1"),
    MakeAdministrator("ann"),
    UnmakeAdministrator("ann"),
    BootstrapAdministrator(token("t1")),
    ResetAdministrator(token("t1")),
    AddAcls(()),
    RemoveAcls(()),
    SetQuota(QuotaEntry("ann", {"requests_per_s": 5})),
    RemoveQuota("ann"),
]


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command.kind)
@pytest.mark.parametrize("level", [1, MEMBERSHIP])
def test_below_its_level_nothing_of_it_is_proposed_applied_or_written(level: int, command: Command) -> None:
    """Builds that know nothing of it read what is written there."""
    cluster = Cluster(level)
    assert (SECURITY, f"command {command.kind}") in commands.needs(command)
    assert isinstance(cluster.outcome(command), FloodmarkError)
    raw = msgspec.msgpack.decode(cluster.machine.snapshot())
    assert not raw["state"].keys() & set(MEMBERS)


def test_at_its_level_it_is_written_and_read_as_it_was() -> None:
    """Bytes as bytes, in the order of the entries."""
    cluster = Cluster()
    cluster.does(CreateUser("zoe", 5, VERIFIERS))
    cluster.does(CreateUser("ann", 6))
    cluster.does(AddToken(token("t1")))
    raw = msgspec.msgpack.decode(cluster.machine.snapshot())["state"]
    assert raw.keys() >= set(MEMBERS)
    assert raw["tokens"]["t1"]["digest"] == b"\xfet1"
    assert list(raw["users"]) == ["zoe", "ann"]
    assert cluster.other.state.users["zoe"].verifiers == VERIFIERS


def test_a_user_is_made_once_and_goes_with_its_tokens() -> None:
    """Nothing that it had is of use to who comes later under its name."""
    cluster = Cluster()
    assert cluster.does(CreateUser("ann", 5)).created_ms == 5
    cluster.refused(CreateUser("ann", 6), Conflict, "there is a user ann already")
    cluster.does(CreateUser("bob", 5))
    cluster.does(AddToken(token("a1")))
    cluster.does(AddToken(token("a2", login=True)))
    cluster.does(AddToken(token("b1", "bob")))
    assert cluster.told[-1] == {"tokens"}
    assert cluster.does(DeleteUser("ann")).name == "ann"
    assert cluster.told[-1] == {"users", "tokens"}
    assert cluster.tokens == ["b1"]
    cluster.refused(DeleteUser("ann"), NotFound, "there is no user ann")
    cluster.refused(AddToken(token("a3")), NotFound, "there is no user ann")
    cluster.refused(SetPassword("ann", ()), NotFound, "there is no user ann")
    cluster.refused(MakeAdministrator("ann"), NotFound, "there is no user ann")
    cluster.refused(UnmakeAdministrator("ann"), NotFound, "there is no user ann")


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ü", "a\n", "x" * 65, "anonymous"])
def test_nobody_is_called_by_what_is_no_name(name: str) -> None:
    """Whatever it is that a client asks for, the first administrator's name too."""
    cluster = Cluster()
    cluster.refused(CreateUser(name, 5), InvalidRequest, "is not a user's name")
    cluster.refused(BootstrapAdministrator(token("t", name)), InvalidRequest, "is not a user's name")
    cluster.refused(ResetAdministrator(token("t", name)), InvalidRequest, "is not a user's name")
    for good in ("a", "A.b_c@d-9", "x" * 64, ".a"):
        cluster.does(CreateUser(good, 5))


def test_two_valid_tokens_of_a_user_and_no_third() -> None:
    """The refusal names them. One that has expired makes place, and another user's are its own matter."""
    cluster = Cluster()
    cluster.does(CreateUser("ann", 5))
    cluster.does(CreateUser("bob", 5))
    cluster.does(AddToken(token("a1", expires=2_000)))
    cluster.does(AddToken(token("b1", "bob")))
    cluster.does(AddToken(token("a2")))
    assert TOKENS_MAX == 2
    cluster.refused(AddToken(token("a2")), Conflict, "there is a token a2 already")
    cluster.refused(AddToken(token("b1")), Conflict, "there is a token b1 already")
    words = "revoke a1 (which ends with wxyz) or a2 (which ends with wxyz) first"
    cluster.refused(AddToken(token("a3", at=1_999)), Conflict, words)
    cluster.does(AddToken(token("a3", at=2_000)))
    assert cluster.tokens == ["a2", "a3", "b1"]
    cluster.refused(RevokeToken("ann", "b1"), NotFound, "ann has no token b1")
    assert cluster.does(RevokeToken("ann", "a2")).token_id == "a2"
    cluster.refused(RevokeToken("ann", "a2"), NotFound, "ann has no token a2")
    cluster.does(AddToken(token("a4", at=2_001)))


def test_of_log_ins_the_oldest_goes() -> None:
    """They are counted apart from the others, of which none goes by itself."""
    cluster = Cluster()
    cluster.does(CreateUser("ann", 5))
    cluster.does(AddToken(token("kept", at=1)))
    for number in range(LOGINS_MAX):
        cluster.does(AddToken(token(f"l{number}", at=100 - number, login=True)))
    cluster.does(AddToken(token("last", at=101, login=True)))
    assert f"l{LOGINS_MAX - 1}" not in cluster.tokens
    assert cluster.tokens == sorted(["kept", "last", *(f"l{number}" for number in range(LOGINS_MAX - 1))])


def test_a_password_ends_the_log_ins_of_the_one_before() -> None:
    """Tokens that were made as such stay; who has no password any more keeps those."""
    cluster = Cluster()
    cluster.does(CreateUser("ann", 5))
    cluster.does(AddToken(token("kept")))
    cluster.does(AddToken(token("login", login=True)))
    assert cluster.does(SetPassword("ann", VERIFIERS)).verifiers == VERIFIERS
    assert cluster.told[-1] == {"users", "tokens"}
    assert cluster.tokens == ["kept"]
    cluster.does(SetPassword("ann", ()))
    assert cluster.told[-1] == {"users"}
    cluster.refused(SetPassword("ann", VERIFIERS * 2), InvalidRequest, "twice")


def test_there_is_always_an_administrator_once_there_was_one() -> None:
    """The first one is made once, whoever proposes it; the last one neither goes nor is one of many."""
    cluster = Cluster()
    cluster.does(BootstrapAdministrator(token("first", "admin")))
    assert cluster.told[-1] == {"users", "tokens", "administrators"}
    cluster.refused(
        BootstrapAdministrator(token("second", "admin")), Conflict, "administrator already: admin"
    )
    words = "admin is the cluster's only administrator"
    cluster.refused(DeleteUser("admin"), Conflict, words)
    cluster.refused(UnmakeAdministrator("admin"), Conflict, words)
    cluster.does(CreateUser("zoe", 5))
    cluster.does(CreateUser("Ann", 5))
    cluster.does(MakeAdministrator("zoe"))
    cluster.does(MakeAdministrator("Ann"))
    cluster.does(MakeAdministrator("Ann"))
    assert cluster.machine.state.administrators == ("Ann", "admin", "zoe")
    cluster.does(DeleteUser("admin"))
    cluster.does(UnmakeAdministrator("Ann"))
    cluster.refused(UnmakeAdministrator("zoe"), Conflict, "zoe is the cluster's only administrator")
    assert cluster.machine.state.administrators == ("zoe",)


def test_an_administrator_that_is_reset_has_the_new_token_and_nothing_else() -> None:
    """Also one that was deleted; asked for again, it changes nothing."""
    cluster = Cluster()
    cluster.does(BootstrapAdministrator(token("first", "admin")))
    cluster.does(SetPassword("admin", VERIFIERS))
    cluster.does(AddToken(token("login", "admin", login=True)))
    cluster.does(CreateUser("ann", 1))
    cluster.does(AddToken(token("a1")))
    cluster.does(ResetAdministrator(token("new", "admin")))
    assert cluster.tokens == ["a1", "new"]
    assert cluster.machine.state.users["admin"].verifiers == ()
    told = len(cluster.told)
    cluster.does(AddToken(token("later", "admin")))
    assert cluster.does(ResetAdministrator(token("new", "admin"))).token_id == "new"
    assert cluster.tokens == ["a1", "later", "new"]
    assert len(cluster.told) == told + 1, "only the token was told"
    cluster.does(ResetAdministrator(token("other", "root")))
    assert cluster.machine.state.administrators == ("admin", "root")
