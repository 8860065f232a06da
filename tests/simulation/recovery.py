"""A majority is lost for good: what is left is stopped, looked at, and goes on by the product's own plan.

Surveys, plan, what is said to be lost, what is written to each disk and which nodes let each other in are
those of ``node.recovery`` and ``node.membership.epochs``. What was lost is destroyed, comes back with an
empty disk, comes back as it was, or was only cut off and goes on all the while.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from floodmark.format.frame import Frame

from node.membership import epochs
from node.membership.formation import Standpoint
from node.membership.identity import NodeIdentity, Standing, load, save
from node.metadata.state import METADATA_GROUP
from node.recovery.apply import apply
from node.recovery.errors import NotRecoverable
from node.recovery.partition_state import PartitionState
from node.recovery.plan import Decision, Plan, PlannedGroup, decide
from node.recovery.replica_survey import ReplicaSurvey, look_at
from node.recovery.report import report
from node.recovery.survey import SURVEY_VERSION, Survey
from storage.log import Log
from storage.options import LogOptions
from storage.segment_header import base_index_of
from tests.simulation.broken import Rule
from tests.simulation.codec import RAFT_GROUP
from tests.simulation.described import snapshot_of
from tests.simulation.disk import DATA, FOLDER
from tests.simulation.ledger import brief
from tests.simulation.machine import last_index_in
from tests.simulation.violation import require
from tests.simulation.watch import Watch

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica

SETTLED_S = 0.5
"""A node that hears of a later epoch within this time after its start takes part in nothing."""


class Recoveries:
    """Of one run: once or twice, at random moments."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._epoch, self._name = 0, ""
        self._standpoints: dict[str, Standpoint] = {}
        self._made = 0
        self.done = self.lost = self.refused = 0
        self._chained = PartitionState(last_index_in, cluster.history.cut)
        self.begins_at = 0
        """The first entry of the present epoch."""
        for _ in range(rng.choice((1, 1, 2))):
            cluster.scheduler.after(rng.uniform(0.2, 0.75) * cluster.profile.duration_s, self._begin)

    # Epochs.

    def starts(self, replica: Replica) -> None:
        """Its folder says what it is; an empty one takes over the epoch of those that it meets."""
        fs, name = replica.disk.fs, replica.name
        identity = load(fs, DATA)
        if identity is None:
            self._made += 1
            identity = NodeIdentity(
                1,
                name,
                "c",
                f"{name} {self._made}",
                Standing.MEMBER,
                formation="f",
                boot=1,
                epoch=self._epoch,
                recovery=self._name,
            )
            fs.mkdir(DATA)
            save(fs, DATA, identity)
        self._standpoints[name] = Standpoint(
            name,
            identity.standing,
            identity.incarnation,
            "",
            "",
            identity.formation,
            identity.epoch,
            identity.recovery,
        )

    def welcome(self, source: str, target: str) -> bool:
        """Whether two nodes let each other in."""
        if Rule.E1 in self._cluster.broken:
            return True
        mine, other = self._standpoints.get(source), self._standpoints.get(target)
        if mine is None or other is None:
            return True  # One of them has had no replica yet.
        if epochs.refusal(mine, other) is None and epochs.refusal(other, mine) is None:
            return True
        self.refused += 1
        for name in (source, target):
            self._cluster.scheduler.after(0.0, lambda r=self._cluster.replicas[name]: self._hears(r))
        return False

    def _hears(self, replica: Replica) -> None:
        since = self._cluster.scheduler.now - replica.started_at
        if replica.outside and replica.running and since < SETTLED_S:
            replica.note("is of an earlier epoch, and takes part in nothing")
            replica.crash(power_loss=False)

    # A majority is lost.

    def _begin(self) -> None:
        leaders = self._cluster.leaders()
        if len(leaders) == 1 and len(self._holders()) >= 5 and self._rng.random() < 0.6:
            self._fall_apart(leaders[0])
        else:
            self._strike()

    def _fall_apart(self, old: Replica) -> None:
        """First the leader is cut off, with entries that nobody else gets, and another one goes on.

        Those two logs, or that of one of the others, are what is left then.
        """
        cluster, network = self._cluster, self._cluster.network
        others = [name for name in cluster.names if name != old.name]
        cut = [pair for name in others for pair in ((old.name, name), (name, old.name))]
        for link in cut:
            network.set_cut(*link, True)
        cluster.note("network", f"cuts {old.name} off before a majority is lost")
        for _ in range(self._rng.randint(5, 20)):
            cluster.workload.propose(old)
        ends = cluster.scheduler.now + 3.0

        def look() -> None:
            others = [one for one in cluster.leaders() if one is not old and one.group is not None]
            if not any(one.group.is_ready_leader for one in others) and cluster.scheduler.now < ends:  # type: ignore[union-attr]
                cluster.scheduler.after(0.05, look)
                return
            holders = [replica for replica in self._holders() if replica is not old]
            self._strike(stay=[old, self._rng.choice(holders)] if holders else [])
            for link in cut:
                network.set_cut(*link, False)

        look()

    def _holders(self) -> list[Replica]:
        return [one for one in self._cluster.in_order() if not one.outside and not one.absent]

    def _strike(self, stay: Sequence[Replica] = ()) -> None:
        """All but ``stay`` are lost, or a majority at random."""
        rng, cluster = self._rng, self._cluster
        inside = [replica for replica in cluster.in_order() if not replica.outside]
        holders = self._holders()
        if len(holders) < 2:
            return
        count = rng.randint(min(len(holders) // 2 + 1, len(holders) - 1), len(holders) - 1)
        lost = [one for one in holders if one not in stay] if stay else rng.sample(holders, count)
        left = [replica for replica in inside if replica not in lost]
        if not any(_has_log(replica) for replica in left if not replica.absent):
            return
        cluster.note("cluster", f"loses {sorted(replica.name for replica in lost)} for good")
        for replica in left:
            self._stop(replica)
            cluster.scheduler.after(rng.uniform(0.02, 1.0), replica.start)
        surveys = [self._survey(replica, left, lost) for replica in left]
        try:
            decision = self._decide(surveys)
        except NotRecoverable as reason:
            # Who was called lost is no voter by now, and comes back as it was.
            require("every group has a majority" in str(reason), "what is left can be recovered", str(reason))
            return
        for replica in lost:
            self._lose(replica, left)
        self._go_on(left, surveys, decision)

    def _stop(self, replica: Replica) -> None:
        if replica.running:
            replica.resume()
            if replica.group is not None and self._rng.random() < 0.5:
                replica.guarded(replica.group.storage.checkpoint)  # An orderly stop.
        if replica.running:
            replica.crash(power_loss=self._rng.random() < 0.5)
        replica.disk.heal()

    def _lose(self, replica: Replica, left: list[Replica]) -> None:
        rng, network = self._rng, self._cluster.network
        replica.left_out()
        fate = rng.choice(("destroyed", "comes back", "comes back", "cut off", "comes back empty"))
        replica.note(f"is lost: {fate}")
        if fate == "cut off" and replica.running:
            links = [pair for one in left for pair in ((one.name, replica.name), (replica.name, one.name))]
            for link in links:
                network.set_cut(*link, True)

            def mend() -> None:
                for link in links:
                    network.set_cut(*link, False)

            self._cluster.scheduler.after(rng.uniform(0.5, 4.0), mend)
            return
        if replica.running:
            replica.crash(power_loss=True)
        if fate in ("comes back", "cut off"):
            self._cluster.scheduler.after(rng.uniform(0.1, 3.0), replica.start)
            return
        replica.leave()
        self._standpoints.pop(replica.name, None)
        if fate == "comes back empty":
            self._cluster.scheduler.after(rng.uniform(0.1, 3.0), lambda: self._is_empty(replica))

    def _is_empty(self, replica: Replica) -> None:
        replica.note("comes back with an empty disk")
        replica.outside = False
        self._cluster.history.outside.discard(replica.name)

    # What is left goes on.

    def _go_on(self, left: list[Replica], surveys: list[Survey], decision: Decision) -> None:
        cluster = self._cluster
        (group,) = [group for group in decision.plan.groups if group.raft_group == RAFT_GROUP]
        (row,) = [row for row in report(surveys, decision)["groups"] if row["group"] == RAFT_GROUP]
        if Rule.E4 in cluster.broken:
            row["safe_offset"] = next(
                replica["next_offset"] for replica in row["replicas"] if replica["node"] == group.chosen
            )
        cluster.note("cluster", f"goes on from {group.chosen} and {list(group.others)}: {row['text']}")
        self._judge(group, row, surveys)
        plan = msgspec.structs.replace(decision.plan, groups=(group,))
        for replica in left:
            self._write(replica, plan, group)
        self.done += 1
        self._epoch, self._name = plan.epoch, plan.name
        self.begins_at = group.last_index + 1
        cluster.watch = Watch()
        assert cluster.moves is not None
        cluster.moves.go_on_with(frozenset((group.chosen, *group.others)))

    def _survey(self, replica: Replica, left: list[Replica], lost: list[Replica]) -> Survey:
        """As ``node.recovery.survey`` makes it; the metadata are described, for nobody keeps them here."""
        cluster, fs, name = self._cluster, replica.disk.fs, replica.name
        assert cluster.moves is not None
        identity = load(fs, DATA)
        if identity is None:
            self.starts(replica)
            identity = load(fs, DATA)
        assert identity is not None
        names = tuple(sorted(one.name for one in (*left, *lost)))
        metadata = ReplicaSurvey(
            METADATA_GROUP, 20, 3, 0, 0, 0, 3, 20, may_vote=True, memberships=((names, ()),)
        )
        found = None
        if fs.exists(FOLDER):
            found = look_at(fs, FOLDER, RAFT_GROUP, None, of_partition=self._chained)
        holders = [one.name for one in (*left, *lost) if not one.absent]
        return Survey(
            SURVEY_VERSION,
            name,
            "c",
            "f",
            identity.incarnation,
            identity.boot,
            identity.epoch,
            identity.recovery,
            names,
            (metadata,) if found is None else (metadata, found),
            snapshot_of(names, cluster.moves.placed, cluster.moves.wanted.voters, holders),
        )

    def _decide(self, surveys: list[Survey]) -> Decision:
        name = f"recovery {self.done + 1}"
        if Rule.E2 not in self._cluster.broken:
            return decide(surveys, name=name, at_ms=0, segment_bytes=1 << 20)
        terms = {s.node_id: r.last_term for s in surveys for r in s.replicas if r.raft_group == RAFT_GROUP}
        blind = [
            msgspec.structs.replace(
                survey,
                replicas=tuple(msgspec.structs.replace(each, last_term=1) for each in survey.replicas),
            )
            for survey in surveys
        ]
        decision = decide(blind, name=name, at_ms=0, segment_bytes=1 << 20)
        groups = tuple(
            msgspec.structs.replace(group, last_term=terms.get(group.chosen, 0))
            for group in decision.plan.groups
        )
        return msgspec.structs.replace(decision, plan=msgspec.structs.replace(decision.plan, groups=groups))

    def _write(self, replica: Replica, plan: Plan, group: PlannedGroup) -> None:
        """On each disk by itself; now and then the power fails half way, and it is done once more."""
        fs, name, chained = replica.disk.fs, replica.name, self._chained
        if self._rng.random() < 0.3:
            next(apply(fs, DATA, plan, of_partition=chained), None)
            replica.disk.crash(power_loss=True)
        for _ in apply(fs, DATA, plan, of_partition=chained):
            pass
        if name == group.chosen and Rule.E3 in self._cluster.broken:
            log = Log.open(fs, FOLDER, LogOptions(segment_bytes=group.segment_bytes))
            log.truncate(group.last_index + 1)
            log.close()
        if name in (group.chosen, *group.others):
            replica.absent = False
            replica.goes_on(chosen=name == group.chosen)
            self._cluster.watch.wiped(name)

    # What may be lost.

    def _judge(self, group: PlannedGroup, row: dict[str, Any], surveys: list[Survey]) -> None:
        """Nothing may be lost but what is said, and nothing that is left and proved to be committed."""
        cluster, ledger = self._cluster, self._cluster.ledger
        found = {s.node_id: r for s in surveys for r in s.replicas if r.raft_group == RAFT_GROUP}
        require(not group.is_emptied and not group.is_damaged, "what is left is whole", str(row))
        logs = {name: Log.open(cluster.replicas[name].disk.fs, FOLDER, LogOptions()) for name in found}
        try:
            chosen = logs[group.chosen]
            agreed = min(ledger.highest, chosen.last_index)
            while agreed >= chosen.base_index and _term(chosen, agreed) != ledger.committed[agreed].term:
                agreed -= 1
            gone = [ledger.committed[index] for index in range(agreed + 1, ledger.highest + 1)]
            # A state may have more than any log: that is lost, and said to be lost for certain.
            known = max(min(replica.committed, replica.last_index) for replica in found.values())
            only_in_states = max(replica.state_index for replica in found.values()) > chosen.last_index
            said = "certain" if only_in_states else "possible"
            for frame in gone:
                self._may_be_lost(frame, row, known, said)
                for name, log in logs.items():
                    proves = found[name].last_term >= ledger.committed_in[frame.index]
                    require(
                        not (proves and _term(log, frame.index) == frame.term),
                        "the log is chosen that has all that later leaders had",
                        lambda name=name, frame=frame: f"{name} has {brief(frame)}: {row}",  # type: ignore[misc]
                    )
            behind = list(chosen.frames(max(agreed + 1, chosen.base_index), chosen.last_index))
        finally:
            for log in logs.values():
                log.close()
        self.lost += len(gone)
        ledger.go_on_from(agreed, behind)
        cluster.history.forget_after(agreed)
        for index in [index for index in cluster.removed if index > agreed]:
            del cluster.removed[index]

    def _may_be_lost(self, frame: Frame, row: dict[str, Any], known: int, said: str) -> None:
        require(
            row["loss"] == said and frame.index > known,
            "nothing is lost but what a recovery says",
            lambda: f"{brief(frame)} is committed and not there; known {known}: {row}",
        )
        require(
            not frame.offset_count or frame.first_offset >= row["safe_offset"],
            "nothing is lost but what a recovery says",
            lambda: f"{brief(frame)} is committed and not there: {row}",
        )


def _has_log(replica: Replica) -> bool:
    fs = replica.disk.fs
    return fs.exists(FOLDER) and any(base_index_of(name) is not None for name in fs.listdir(FOLDER))


def _term(log: Log, index: int) -> int:
    return log.term_at(index) if log.base_index <= index <= log.last_index else 0
