"""Members of a consumer group, over HTTP: they join, read, commit, give up, leave, stand still and die.

Every request is a single attempt. What a dead member had, others get when its session is over.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from floodmark.errors import FencedMemberEpoch, FloodmarkError, UnknownMember, UnknownTopic
from floodmark.pin import Pin
from floodmark.transport.http import BATCH_MEDIA_TYPE, Answer, Request

from chaos.checker.options import Place
from chaos.history import (
    At,
    Beat,
    Commit,
    Done,
    FetchOffsets,
    GroupAction,
    Has,
    Join,
    Leave,
    Membership,
    Offsets,
    Result,
    Take,
    Took,
)
from chaos.workload.consumers import poll
from chaos.workload.renewal import TOPIC as RENEWED
from chaos.workload.renewal import is_renewed, name_of, topic_of
from chaos.workload.site import Site, attempt, json_request, ticks, within_time

GROUP: Final = "chaos"
_TICK_S: Final = 0.25
_SESSION_MS: Final = 6_000
_LIFE_S: Final = (4.0, 15.0)
_STANDS_STILL_S: Final = (1.0, 9.0)
"""Up to more than a session: others have its partitions then, and it does not know."""
_TAKE_BYTES_MAX: Final = 64 << 10
_COMMIT_EVERY: Final = 4
"""Ticks."""


class _Assigned(msgspec.Struct):
    topic: str
    topic_id: int
    partition: int
    epoch: int


class _State(msgspec.Struct):
    member_epoch: int
    assignment: list[_Assigned]


class _Offset(msgspec.Struct):
    topic: str
    topic_id: int
    partition: int
    offset: int


class _Offsets(msgspec.Struct):
    offsets: list[_Offset]


async def take_part(site: Site, number: int) -> None:
    """One member after the other, in one process. Runs until ``site.stop``."""
    process = f"member-{number}"
    rng = site.rng(process)
    sessions = itertools.count(1)
    for life in itertools.count(1):
        if site.stop.is_set():
            return
        member = _Member(site, process, f"{process}-{life}", sessions)
        try:
            await member.live(rng)
        finally:
            await member.close()


class _Member:
    """``_has`` is what it was told to have, by topic id and number; ``_revoked`` what it is to give up."""

    def __init__(self, site: Site, process: str, id_: str, sessions: Iterator[int]) -> None:
        self._site = site
        self._process = process
        self._id = id_
        self._numbers = sessions
        self._asks = site.rotation(f"{id_}/group")
        self._reads = site.transport(f"{id_}/records")
        self._epoch = 0
        self._has: dict[tuple[int, int], Has] = {}
        self._revoked: dict[tuple[int, int], Has] = {}
        self._positions: dict[Place, int] = {}
        self._sessions: dict[Place, int] = {}
        self._committed: dict[Place, int] = {}
        self._is_gone = False

    async def close(self) -> None:
        """Its connections end."""
        await self._asks.close()
        await self._reads.close()

    async def live(self, rng: random.Random) -> None:
        """Until it leaves, dies, or is told that it is none any more."""
        ends = asyncio.get_running_loop().time() + rng.uniform(*_LIFE_S)
        end = rng.choice(("leaves", "dies", "stands still"))
        async for tick in ticks(_TICK_S, self._site.stop):
            if self._site.pauses.of_all:
                continue
            if asyncio.get_running_loop().time() >= ends:
                if end == "dies":
                    return
                if end == "leaves":
                    await self._commit()
                    await self._leave()
                    return
                await asyncio.sleep(rng.uniform(*_STANDS_STILL_S))
                ends, end = ends + _LIFE_S[1], "leaves"
            await self._work(tick)
            if self._is_gone:
                return

    async def _work(self, tick: int) -> None:
        if not self._epoch:
            await self._meet(
                Join(GROUP, self._id),
                "/members",
                {
                    "member_id": self._id,
                    "topics": [*self._site.topics, RENEWED],
                    "session_timeout_ms": _SESSION_MS,
                },
            )
            return
        await self._begin()
        for topic, partition in sorted(self._positions):
            await self._read((topic, partition))
        if self._revoked or tick % _COMMIT_EVERY == 0:
            await self._commit()
        if self._revoked or tick % 2 == 0:
            await self._beat()

    # What it reads.

    async def _begin(self) -> None:
        """Learn from where on to read what it has got."""
        wanted = [has for has in self._has.values() if (has.topic, has.partition) not in self._positions]
        for topic in sorted({has.topic for has in wanted}):
            request = self._request("GET", "/offsets", None, topic=topic_of(topic))
            found = await self._ask(FetchOffsets(GROUP, topic), request)
            if not isinstance(found, Offsets):
                continue
            committed = {(at.topic, at.partition): at.offset for at in found.offsets}
            for has in wanted:
                if has.topic == topic:
                    place = (topic, has.partition)
                    self._positions[place] = committed.get(place, 0)
                    self._sessions[place] = next(self._numbers)

    async def _read(self, place: Place) -> None:
        revoked = {(has.topic, has.partition) for has in self._revoked.values()}
        if place in revoked or self._site.pauses.has(place):
            return
        if is_renewed(place[0]):
            await self._take(place)
            return
        page = await poll(
            self._site,
            self._reads,
            self._process,
            place,
            self._positions[place],
            session=self._sessions[place],
        )
        if page is not None and not isinstance(page, int):
            self._positions[place] = page.next_offset

    async def _take(self, place: Place) -> None:
        """Read on in a topic that may not be there any more, nor be its namesake."""
        name, partition = place
        topic, offset = topic_of(name), self._positions[place]
        request = Request(
            method="GET",
            path=f"/v1/topics/{topic}/partitions/{partition}/records",
            query={"from": offset, "max_bytes": _TAKE_BYTES_MAX, "wait": "0ms"},
            headers=Pin(self._id_of(place)).headers({"Accept": BATCH_MEDIA_TYPE}),
            route=f"{topic}/{partition}",
        )
        op = self._site.recorder.begin(self._process, Take(name, partition, offset))
        try:
            answer, node = await attempt(self._reads, request)
        except FloodmarkError as error:
            self._site.recorder.failed(op, error)
            return
        self._positions[place] = int(answer.headers["Log-Next-Offset"])
        self._site.recorder.ok(op, Took(self._positions[place]), node=node)

    def _id_of(self, place: Place) -> int:
        has = [*self._has.values(), *self._revoked.values()]
        return next(each.topic_id for each in has if (each.topic, each.partition) == place)

    async def _commit(self) -> None:
        """Of each topic that may be gone by itself, so that it keeps nothing else from being committed."""
        due = [
            At(*place, offset)
            for place, offset in sorted(self._positions.items())
            if self._committed.get(place) != offset
        ]
        await self._commit_all([at for at in due if not is_renewed(at.topic)])
        renewed = [at for at in due if is_renewed(at.topic)]
        for _, found in itertools.groupby(renewed, key=lambda at: at.topic):
            await self._commit_all(list(found))

    async def _commit_all(self, offsets: list[At]) -> None:
        if not offsets or self._is_gone:
            return
        body = {
            "member_id": self._id,
            "member_epoch": self._epoch,
            "offsets": [
                {
                    "topic": topic_of(at.topic),
                    "topic_id": self._id_of((at.topic, at.partition)),
                    "partition": at.partition,
                    "offset": at.offset,
                }
                for at in offsets
            ],
        }
        done = await self._ask(
            Commit(GROUP, self._id, self._epoch, offsets), self._request("POST", "/offsets", body)
        )
        if done is not None:
            self._committed.update({(at.topic, at.partition): at.offset for at in offsets})

    # That it lives.

    async def _beat(self) -> None:
        """It says what it has: not any more what it was told to give up, once that is committed."""
        for key, has in list(self._revoked.items()):
            place = (has.topic, has.partition)
            if self._positions.get(place) == self._committed.get(place):
                del self._revoked[key]
                self._forget(place)
        owned = sorted([*self._has, *self._revoked])
        told = [{"topic_id": each, "partitions": numbers} for each, numbers in _by_topic(owned)]
        await self._meet(
            Beat(GROUP, self._id, self._epoch, owned),
            f"/members/{self._id}",
            {"member_epoch": self._epoch, "owned": told},
        )

    async def _leave(self) -> None:
        request = self._request("DELETE", f"/members/{self._id}", None, member_epoch=self._epoch)
        await self._ask(Leave(GROUP, self._id, self._epoch), request)

    async def _meet(self, action: Join | Beat, path: str, body: dict[str, Any]) -> None:
        found = await self._ask(action, self._request("POST", path, body))
        if not isinstance(found, Membership):
            return
        self._epoch = found.epoch
        now = {(has.topic_id, has.partition): has for has in found.has}
        for key, has in self._has.items():
            if key not in now:
                self._revoked[key] = has
            elif now[key].since != has.since:
                self._forget((has.topic, has.partition))
        for key in self._revoked.keys() & now.keys():
            has = self._revoked.pop(key)
            if now[key].since != has.since:
                self._forget((has.topic, has.partition))
        self._has = now

    def _forget(self, place: Place) -> None:
        self._positions.pop(place, None)
        self._committed.pop(place, None)

    # Requests.

    def _request(self, method: str, path: str, body: dict[str, Any] | None, **query: str | int) -> Request:
        query = query if method == "GET" else within_time(query)
        return json_request(method, f"/v1/groups/{GROUP}{path}", body, query)

    async def _ask(self, action: GroupAction, request: Request) -> Result | None:
        recorder = self._site.recorder
        op = recorder.begin(self._process, action)
        try:
            answer, node = await attempt(self._asks, request)
            result = _result(action, answer)
        except FloodmarkError as error:
            recorder.failed(op, error)
            self._is_gone = isinstance(error, UnknownMember | FencedMemberEpoch)
            if isinstance(action, Commit) and isinstance(error, UnknownTopic):
                # There is nothing to commit in any more, and so nothing to wait for before giving it up.
                self._committed.update({(at.topic, at.partition): at.offset for at in action.offsets})
            return None
        recorder.ok(op, result, node=node)
        return result


def _by_topic(owned: list[tuple[int, int]]) -> Iterator[tuple[int, list[int]]]:
    for topic_id, group in itertools.groupby(owned, key=lambda each: each[0]):
        yield topic_id, [number for _, number in group]


def _result(action: GroupAction, answer: Answer) -> Result:
    if isinstance(action, Join | Beat):
        state = answer.convert(_State)
        has = [
            Has(name_of(each.topic, each.topic_id), each.topic_id, each.partition, each.epoch)
            for each in state.assignment
        ]
        return Membership(state.member_epoch, has)
    if isinstance(action, Leave):
        return Done()
    found = answer.convert(_Offsets)
    told = [At(name_of(each.topic, each.topic_id), each.partition, each.offset) for each in found.offsets]
    if isinstance(action, FetchOffsets):
        told = [at for at in told if at.topic == action.topic]
    return Offsets(told)
