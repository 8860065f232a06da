"""The partitions that the group gives to a member, and takes away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from floodmark.consumer.fetcher import FetchOptions
from floodmark.errors import FloodmarkError, NoCommittedOffset
from floodmark.groups.arrivals import Arrivals
from floodmark.groups.callbacks import tell_of
from floodmark.groups.commits import Commits
from floodmark.groups.member import FENCED, Member
from floodmark.groups.options import ConsumeOptions
from floodmark.groups.owned import Owned, stop_all
from floodmark.groups.shapes import Assigned
from floodmark.groups.standing import Standing
from floodmark.transport.http import Transport
from floodmark.transport.pacing import Backoff, may_pass

_FETCH_BYTES_MIN: Final = 64 << 10
_FETCH_BYTES_MAX: Final = 4 << 20
_WAIT_S: Final = 10.0


class Assignment:
    """Heartbeats bring what the group wants (``keep``); the program's loop makes it so (``attend``)."""

    def __init__(
        self,
        transport: Transport,
        options: ConsumeOptions,
        member: Member,
        standing: Standing,
        arrivals: Arrivals,
        commits: Commits,
    ) -> None:
        self._transport = transport
        self._options = options
        self._member = member
        self._standing = standing
        self._arrivals = arrivals
        self._commits = commits
        self._wanted: list[Assigned] = []

    async def join(self) -> None:
        """Become a member. Raises what the group refuses it for."""
        self._learn((await self._member.join()).assignment)

    async def keep(self) -> None:
        """Say that this member lives, for as long as it is open."""
        standing, backoff = self._standing, Backoff()
        while standing.failure is None:
            try:
                async with asyncio.timeout(self._member.heartbeat_s):
                    await standing.beat.wait()
            except TimeoutError:
                pass
            standing.beat.clear()
            if standing.is_fenced:
                continue
            try:
                self._learn((await self._member.heartbeat(standing.owned)).assignment)
                backoff.reset()
            except FENCED:
                standing.lose()
            except FloodmarkError as error:
                if may_pass(error):
                    await asyncio.sleep(backoff.next_delay_s(error.retry_after_s))
                    continue
                standing.fail(error)

    def _learn(self, wanted: list[Assigned]) -> None:
        standing = self._standing
        self._wanted = wanted
        if {(*_key(one), one.epoch) for one in wanted} != {
            (*key, owned.epoch) for key, owned in standing.owned.items()
        }:
            standing.call_attention()
        elif not standing.is_changed:
            self._member.epoch_read = self._member.epoch

    async def attend(self) -> None:
        """Take in what the group has said since the last record. Raises what the loop is to end with."""
        standing = self._standing
        standing.is_changed = False
        if standing.failure is not None:
            raise standing.failure
        if standing.is_fenced:
            await self._join_again()
        epoch, wanted = self._member.epoch, {_key(one): one for one in self._wanted}
        revoked = [owned for key, owned in standing.owned.items() if key not in wanted]
        if revoked:
            await self._give_up(revoked)
        # What was reset begins again; the program has done with what came before.
        again = [owned for key, owned in standing.owned.items() if owned.epoch != wanted[key].epoch]
        for owned in again:
            del standing.owned[owned.key]
        await stop_all(again)
        added = [one for key, one in wanted.items() if key not in standing.owned]
        if added and not standing.is_fenced:
            await self._add(added)
        if not standing.is_fenced:
            self._member.epoch_read = epoch
        if revoked or added:
            standing.beat.set()

    async def _join_again(self) -> None:
        """The group went on without this member: others may have its partitions, at what was committed."""
        lost = self._standing.drop()
        await stop_all(lost)
        await tell_of(self._options.on_lost or self._options.on_revoked, lost)
        self._wanted = (await self._member.join()).assignment
        self._standing.is_fenced = False

    async def _give_up(self, revoked: Sequence[Owned]) -> None:
        await tell_of(self._options.on_revoked, revoked)
        if self._options.commits_by_itself:
            await self._commits.commit_done(revoked)
        for owned in revoked:
            self._standing.owned.pop(owned.key, None)
        await stop_all(revoked)

    async def _add(self, added: Sequence[Assigned]) -> None:
        committed = await self._member.offsets({one.topic for one in added})
        options, standing, arrivals = self._options, self._standing, self._arrivals
        share = arrivals.budget.limit // (2 * (len(standing.owned) + len(added)))
        new: list[Owned] = []
        for one in added:
            start = committed.get(_key(one), options.start)
            if start == "none":
                raise NoCommittedOffset(
                    f"group {options.group} has no offset in partition {one.partition} of topic "
                    f"{one.topic}: say where to begin, with start='earliest' or 'latest', or with "
                    "`floodmark group seek`",
                    topic=one.topic,
                    partition=one.partition,
                )
            fetching = FetchOptions(
                start=start,
                end=None,
                follow=options.follow,
                max_bytes=max(_FETCH_BYTES_MIN, min(_FETCH_BYTES_MAX, share)),
                wait_s=_WAIT_S,
                timeout_s=options.timeout_s,
            )
            new.append(Owned(one, fetching))
        for owned in new:
            standing.owned[owned.key] = owned
        await tell_of(options.on_assigned, new)
        for owned in new:
            owned.start(self._transport, arrivals.budget, arrivals.put)


def _key(one: Assigned) -> tuple[int, int]:
    return one.topic_id, one.partition
