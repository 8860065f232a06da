"""All measurements of one system in one round, against servers that have just been started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from bench.group_consumers.figures import Figure
from bench.group_consumers.variants import HAS_PARTITIONS, WAYS
from bench.group_consumers.work import CALLERS, RECORD_BYTES, GroupJob, Scale
from bench.peers.rounds import in_words
from bench.peers.servers.base import Servers
from bench.peers.work import Job
from bench.peers.worker_process import WorkerProcess, run_worker
from bench.processes import Failed

_FULL = "full"
_FLOOD_WAYS = {"floodmark": "lists"}


class GroupSession:
    """Of these servers."""

    def __init__(
        self, servers: Servers, scale: Scale, round_number: int, note: Callable[[str], None]
    ) -> None:
        """``note``: told of measurements that failed, and why."""
        self._servers = servers
        self._scale = scale
        self._round = round_number
        self._ways = WAYS.get(servers.variant.system, ("",))
        self._number = 0
        self._note = note
        self._job = servers.job(GroupJob, seconds=scale.seconds)

    def run(self) -> Iterator[Figure]:
        """Each figure as soon as it is there. A measurement that fails is noted, and the others go on."""
        written = self._fill()
        for measure in (self._throughput(written), self._rebalances(), self._commits(), self._failovers()):
            try:
                yield from measure
            except Failed as error:
                self._note(f"{in_words(self._servers.variant, self._round)}: {error}")
        for number in range(len(self._servers.processes)):
            self._servers.kill(number)  # Those that are left would try to hand over what they lead.

    def _fill(self) -> int:
        """How many records were written."""
        servers = self._servers
        self._ask(self._job.to("create", _FULL))
        flood = servers.job(Job, seconds=2 * self._scale.seconds).to(
            "flood",
            _FULL,
            way=_FLOOD_WAYS.get(servers.variant.system, ""),
            size=RECORD_BYTES,
            count=self._scale.records,
        )
        return run_worker(servers.tools, flood).records

    def _throughput(self, written: int) -> Iterator[Figure]:
        """First without counting, and shortly: servers compile while they run. Then in turns while there is
        time, once at least."""
        for group, way in (("", ""), *(("warm", way) for way in self._ways)):
            self._read(written, group=group and self._new(group), way=way, seconds=self._scale.seconds / 3)
        end = time.monotonic() + 2 * self._scale.seconds
        while True:
            plain = self._read(written)
            yield self._figure("plainly", plain["rate"])
            yield self._figure("first plainly", plain["first_s"])
            for way in self._ways:
                found = self._read(written, group=self._new("read"), way=way)
                yield self._figure("in a group", found["rate"], way)
                yield self._figure("beside", 100 * (found["rate"] / plain["rate"] - 1), way)
                yield self._figure("first in a group", found["first_s"], way)
            if time.monotonic() > end:
                return

    def _read(
        self, written: int, *, group: str = "", way: str = "", seconds: float = 0.0
    ) -> dict[str, float]:
        job = self._job.to("read", _FULL, count=written, group=group, way=way)
        return self._ask(replace(job, seconds=seconds or self._scale.seconds))

    def _rebalances(self) -> Iterator[Figure]:
        if self._servers.variant.system not in HAS_PARTITIONS:
            return
        members = self._scale.members
        self._ask(self._job.to("create", "wide", partitions=members, replicas=1))
        rebalance = self._job.to("rebalance", "wide", count=members)
        for way in self._in_turn(1):
            found = self._ask(replace(rebalance, group=self._new("wide"), way=way))
            yield self._figure("join", found["join_s"], way)
            yield self._figure("leave", found["leave_s"], way)

    def _commits(self) -> Iterator[Figure]:
        for callers in CALLERS:
            job = self._job.to("commit", _FULL, callers=callers, group=self._new("commits"))
            found = self._ask(job)
            yield self._figure(f"commits of {callers}", found["rate"])
            yield self._figure(f"p50 of {callers}", found["p50_ms"])
            if callers > 1:
                yield self._figure(f"p99 of {callers}", found["p99_ms"])

    def _failovers(self) -> Iterator[Figure]:
        """The last server that is killed is not started again: nothing comes after."""
        todo = self._in_turn(self._scale.kills)
        for number, way in enumerate(todo):
            topic = self._new("live")
            self._ask(self._job.to("create", topic))
            follow = self._job.to("follow", topic, group=self._new("live"), way=way)
            with WorkerProcess(self._servers.tools, follow) as follower:
                down = int(follower.said(60.0))
                self._servers.kill(down)
                found = follower.answer()
            for what in ("record", "partition", "commit"):
                yield self._figure(f"without {what}", found[f"without_{what}_s"], way)
            yield self._figure("assignments", found["assignments"], way)
            if number < len(todo) - 1:
                self._servers.restart(down)

    def _in_turn(self, count: int) -> list[str]:
        """So many ways: with what takes long each round begins with another one."""
        return [self._ways[(self._round * count + number) % len(self._ways)] for number in range(count)]

    def _ask(self, job: GroupJob) -> dict[str, float]:
        with WorkerProcess(self._servers.tools, job) as worker:
            return worker.answer()

    def _new(self, name: str) -> str:
        self._number += 1
        return f"{name}-{self._number}"

    def _figure(self, kind: str, value: float, way: str = "") -> Figure:
        return Figure(self._servers.variant.name, way, kind, value, self._round)
