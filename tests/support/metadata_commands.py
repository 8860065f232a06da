"""Commands for the metadata drawn at random, so that most of them are possible and change something."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from node.metadata.command import Command
from node.metadata.domains.acls import KINDS, LITERAL, OPERATIONS, PREFIX, AddAcls, RemoveAcls
from node.metadata.domains.features import FormCluster, RaiseLevel
from node.metadata.domains.moves import CancelMoves, FinishMoves, MoveReplicas, Reassignment, StartMoves
from node.metadata.domains.nodes import ForgetNode, JoinNode, RegisterNode, RemoveNode
from node.metadata.domains.producers import AllocateProducerIds
from node.metadata.domains.quotas import LIMITS, RemoveQuota, SetQuota
from node.metadata.domains.recoveries import RecordRecovery
from node.metadata.domains.shape import DrainNode, Rebalance, RetireNode, UndrainNode
from node.metadata.domains.tokens import AddToken, RevokeToken
from node.metadata.domains.topics import (
    AddPartitions,
    AlterTopic,
    ChangeReplicationFactor,
    CreateTopic,
    DeleteTopic,
)
from node.metadata.domains.users import (
    BootstrapAdministrator,
    CreateUser,
    DeleteUser,
    MakeAdministrator,
    ResetAdministrator,
    SetPassword,
    UnmakeAdministrator,
)
from node.metadata.state import AclEntry, MetadataState, QuotaEntry, TokenEntry, Verifier
from node.metadata.topic_config import TopicConfig

NODES: Final = tuple(f"n{number}" for number in range(1, 10))
TOPICS: Final = tuple("abcde")
USERS: Final = ("ann", "bob", "zoe", "anonymous")


class RandomCommands:
    """Draws from ``rng``; each command is meant for the state as it is then."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._kinds: list[tuple[Callable[[MetadataState], Command], int]] = [
            (self._register, 6),
            (self._join, 6),
            (lambda _: RaiseLevel(self._rng.choice((2, 3, 4, 4))), 1),
            (lambda _: FormCluster(self._rng.choice("xy")), 1),
            (self._create, 12),
            (lambda state: AlterTopic(*self._topic(state), {"retention_ms": self._rng.choice((None, 5))}), 4),
            (lambda state: DeleteTopic(*self._topic(state)), 1),
            (lambda _: AllocateProducerIds(self._rng.randint(0, 5)), 1),
            (self._move, 12),
            (lambda state: StartMoves(self._moves(state)), 6),
            (lambda state: FinishMoves(self._moves(state)), 6),
            (lambda state: CancelMoves(self._moves(state), "why"), 1),
            (lambda _: DrainNode(self._node()), 2),
            (lambda state: UndrainNode(self._rng.choice([*state.draining, self._node()])), 1),
            (lambda _: RetireNode(self._node(), self._rng.choice(("", self._node()))), 1),
            (lambda state: ChangeReplicationFactor(*self._topic(state), self._rng.randint(0, 4)), 1),
            (self._add, 4),
            (self._rebalance, 1),
            (self._forget, 1),
            (lambda _: RemoveNode(self._node()), 1),
            (lambda _: CreateUser(self._user(), self._rng.randint(0, 9), self._verifiers()), 3),
            (lambda _: DeleteUser(self._user()), 1),
            (lambda _: SetPassword(self._user(), self._verifiers()), 1),
            (lambda _: AddToken(self._token()), 6),
            (lambda state: RevokeToken(*self._token_of(state)), 1),
            (lambda _: MakeAdministrator(self._user()), 1),
            (lambda _: UnmakeAdministrator(self._user()), 1),
            (lambda _: BootstrapAdministrator(self._token()), 1),
            (lambda _: ResetAdministrator(self._token()), 1),
            (lambda _: AddAcls(self._acls()), 1),
            (lambda state: RemoveAcls((*self._acls(), *state.acls[:1])), 1),
            (lambda _: SetQuota(QuotaEntry(self._user(), self._limits())), 1),
            (lambda _: RemoveQuota(self._user()), 1),
        ]

    def next(self, state: MetadataState) -> Command:
        """Some command; a recovery now and then. First of all there are nodes."""
        if len(state.nodes) < len(NODES) // 2 and state.level == 1:
            return self._register(state)
        if self._rng.random() < 0.01:
            return self._recovery(state)
        kinds, weights = zip(*self._kinds, strict=True)
        draw = self._rng.choices(kinds, weights)[0]
        return draw(state)

    def _node(self) -> str:
        return self._rng.choice(NODES)

    def _topic(self, state: MetadataState) -> tuple[str, int]:
        name = self._rng.choice(TOPICS)
        there = state.topics.get(name)
        return name, there.topic_id if there is not None else self._rng.randint(1, 9)

    def _moves(self, state: MetadataState) -> dict[int, int]:
        groups = self._rng.sample(list(state.moves), self._rng.randint(0, len(state.moves)))
        return {group: state.moves[group].number for group in groups}

    def _user(self) -> str:
        return self._rng.choice(USERS)

    def _verifiers(self) -> tuple[Verifier, ...]:
        chosen = self._rng.choices(("SCRAM-SHA-256", "SCRAM-SHA-512"), k=self._rng.randint(0, 2))
        return tuple(Verifier(mechanism, b"salt", 4096, b"\xff", b"\x00") for mechanism in chosen)

    def _token(self) -> TokenEntry:
        now = self._rng.randint(0, 9)
        token_id = f"t{self._rng.randint(0, 30)}"
        expires = self._rng.choice((0, now + 3))
        return TokenEntry(token_id, self._user(), b"\xfe", now, expires, "wxyz", self._rng.random() < 0.7)

    def _acls(self) -> tuple[AclEntry, ...]:
        drawn = self._rng.choice
        return tuple(
            AclEntry(
                self._user(),
                drawn(KINDS),
                drawn((LITERAL, PREFIX)),
                drawn(("", *TOPICS)),
                drawn(OPERATIONS),
                self._rng.random() < 0.7,
            )
            for _ in range(self._rng.randint(0, 3))
        )

    def _limits(self) -> dict[str, float]:
        names = self._rng.sample(list(LIMITS), self._rng.randint(0, len(LIMITS)))
        return {name: self._rng.choice((0, 1, 4096, 5e9)) for name in names}

    def _token_of(self, state: MetadataState) -> tuple[str, str]:
        token_id = self._rng.choice([*state.tokens, "t0"])
        known = state.tokens.get(token_id)
        return known.user if known is not None else self._user(), token_id

    def _register(self, _: MetadataState) -> Command:
        return RegisterNode(self._node(), "h", "p", self._rng.choice("ab"), "", (1, 4))

    def _join(self, _: MetadataState) -> Command:
        return JoinNode(self._node(), "h", "p", self._rng.choice("ab"), "r1", (1, 4))

    def _create(self, _: MetadataState) -> Command:
        factor = self._rng.randint(1, 3)
        placed = [self._rng.sample(NODES, factor) for _ in range(self._rng.randint(0, 4))]
        return CreateTopic(self._rng.choice(TOPICS), factor, TopicConfig(), placed)

    def _add(self, state: MetadataState) -> Command:
        name, topic_id = self._topic(state)
        there = state.topics.get(name)
        factor, count = (there.replication_factor, len(there.partitions)) if there is not None else (1, 1)
        return AddPartitions(name, topic_id, count, [self._rng.sample(NODES, min(factor, len(NODES)))])

    def _move(self, state: MetadataState) -> Command:
        known = list(state.partitions())
        chosen = self._rng.sample(known, min(len(known), self._rng.randint(1, 4)))
        changes = []
        for _, entry in chosen:
            move = state.moves.get(entry.raft_group)
            pool = sorted(state.nodes) or list(NODES)
            target = self._rng.sample(pool, min(len(pool), self._rng.randint(1, 3)))
            if self._rng.random() < 0.2:
                target = self._rng.sample(entry.replicas, len(entry.replicas))
            number = move.number if move is not None else 0
            changes.append(Reassignment(entry.raft_group, list(entry.replicas), target, number))
        return MoveReplicas(changes, self._rng.choice(("", "drain", "rebalance")))

    def _rebalance(self, state: MetadataState) -> Command:
        return Rebalance(self._rng.random() < 0.6, self._rng.choice((0, state.rebalancing)))

    def _forget(self, state: MetadataState) -> Command:
        groups = [entry.raft_group for _, entry in state.partitions() if self._rng.random() < 0.5]
        return ForgetNode(self._node(), {group: self._node() for group in groups})

    def _recovery(self, state: MetadataState) -> Command:
        lost = self._node()
        replicas = {
            entry.raft_group: [node for node in entry.replicas if node != lost] or [self._node()]
            for _, entry in state.partitions()
            if lost in entry.replicas
        }
        return RecordRecovery(state.cluster_epoch + 1, "r", 5, [lost], replicas, {}, [])
