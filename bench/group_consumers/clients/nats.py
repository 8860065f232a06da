"""NATS JetStream with nats-py: a durable pull consumer that several share."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from contextlib import AbstractAsyncContextManager

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy, StreamConfig

from bench.group_consumers.clients.protocol import GroupClient, Members, Reading
from bench.group_consumers.watch import Watch
from bench.group_consumers.work import COMMIT_EVERY_S, RECORD_BYTES, SEND_EVERY_S
from bench.peers.clients.protocol import call_in_turn
from bench.peers.work import PARTITIONS, Job

_SHARED_BY = 3
_AT_ONCE = 1_000
_PENDING_MAX = 30_000
_PENDING_BYTES = 256 << 20
_WAIT_S = 1.0
_ACK_TIMEOUT_S = 1.0
_LAG_MAX_S = 30.0
_LOOK_S = 0.1
_PAUSE_S = 0.01


class NatsGroups(GroupClient):
    """A group is a durable consumer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream = client.jetstream(timeout=30)
        self._to_commit: list[Msg] = []

    async def create(self, topic: str, *, partitions: int, replicas: int) -> None:
        """One stream with a subject for each partition."""
        subjects = [f"{topic}-{number}" for number in range(partitions)]
        await self._stream.add_stream(StreamConfig(name=topic, subjects=subjects, num_replicas=replicas))

    async def read(self, topic: str, reading: Reading, *, group: str, way: str) -> None:
        """An ordered consumer with a callback, or members that fetch and acknowledge."""
        done = asyncio.Event()
        if not group:

            async def take(_message: Msg) -> None:
                if not done.is_set() and reading.came():
                    done.set()

            subscription = await self._stream.subscribe(
                ">",
                stream=topic,
                cb=take,
                ordered_consumer=True,
                deliver_policy=DeliverPolicy.ALL,
                pending_bytes_limit=_PENDING_BYTES,
            )
            await _wait(done, reading)
            await subscription.unsubscribe()
            return

        async def read_on(member: JetStreamContext.PullSubscription) -> None:
            while not done.is_set():
                for message in await _fetch(member, _AT_ONCE):
                    await message.ack()
                    if not done.is_set() and reading.came():
                        done.set()

        members = await self._join(topic, group, _SHARED_BY)
        tasks = [asyncio.create_task(read_on(member)) for member in members]
        await _wait(done, reading)
        done.set()  # tasks are not cancelled: the library may swallow that
        await asyncio.gather(*tasks)
        for member in members:
            await member.unsubscribe()

    def members(
        self, topic: str, *, group: str, count: int, way: str
    ) -> AbstractAsyncContextManager[Members]:
        """Nothing is handed out, so nothing has to be handed out again."""
        raise NotImplementedError

    async def commit(self, topic: str, *, group: str, callers: int, deadline: float) -> list[float]:
        """Acknowledgements that are confirmed, of messages that were fetched before."""
        if not self._to_commit:
            [member] = await self._join(topic, group, 1)
            while fetched := await _fetch(member, min(_AT_ONCE, _PENDING_MAX - len(self._to_commit))):
                self._to_commit += fetched
                if len(self._to_commit) == _PENDING_MAX:
                    break
            self._to_commit.reverse()

        async def put(_number: int) -> None:
            if not self._to_commit:
                raise ValueError("all messages are acknowledged: more --records, or fewer --seconds")
            await self._to_commit.pop().ack_sync(timeout=10)

        return await call_in_turn(put, callers=callers, deadline=deadline)

    async def follow(self, topic: str, watch: Watch, *, group: str, way: str) -> None:
        """Members that fetch one message each; of one every now and then the acknowledgement is confirmed."""
        members = await self._join(topic, group, _SHARED_BY)
        next_commit = time.monotonic()
        is_over = False

        async def confirm(message: Msg) -> None:
            with contextlib.suppress(TimeoutError, nats.errors.Error):
                await message.ack_sync(timeout=_ACK_TIMEOUT_S)
                watch.commit()

        async def read_on(member: JetStreamContext.PullSubscription) -> None:
            nonlocal next_commit
            while not is_over:  # the library may swallow a cancellation
                for message in await _fetch(member, 1):
                    watch.record(int(message.subject.rpartition("-")[2]))
                    if (now := time.monotonic()) >= next_commit:
                        next_commit = now + COMMIT_EVERY_S
                        tasks.create_task(confirm(message))
                    else:
                        await message.ack()

        async with asyncio.TaskGroup() as tasks:
            for member in members:
                tasks.create_task(read_on(member))
            try:
                for number in itertools.count():
                    # Without waiting: what comes while no server leads the stream is lost, others follow.
                    await self._client.publish(f"{topic}-{number % PARTITIONS}", bytes(RECORD_BYTES))
                    await asyncio.sleep(SEND_EVERY_S)
            finally:
                is_over = True

    async def coordinator(self, topic: str, group: str) -> int:
        """The leader of the durable consumer, once all replicas are current."""
        async with asyncio.timeout(_LAG_MAX_S):
            while True:
                cluster = (await self._stream.consumer_info(topic, group)).cluster
                if cluster and cluster.leader and all(peer.current for peer in cluster.replicas or []):
                    return int(cluster.leader.removeprefix("n")) - 1
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        """The connection; subscriptions end with it."""
        await self._client.close()

    async def _join(self, topic: str, group: str, count: int) -> list[JetStreamContext.PullSubscription]:
        config = ConsumerConfig(
            durable_name=group, deliver_policy=DeliverPolicy.ALL, max_ack_pending=_PENDING_MAX
        )
        await self._stream.add_consumer(topic, config)
        return [await self._stream.pull_subscribe_bind(group, topic) for _ in range(count)]


async def _wait(done: asyncio.Event, reading: Reading) -> None:
    """Until it is done, or the time is over, which has more to go once there was a record."""
    while not done.is_set() and (left := reading.deadline - time.perf_counter()) > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, _LOOK_S)):
                await done.wait()


async def _fetch(member: JetStreamContext.PullSubscription, count: int) -> list[Msg]:
    """Nothing where nothing comes, and while nobody leads the consumer."""
    try:
        found: list[Msg] = await member.fetch(count, timeout=_WAIT_S)
    except (TimeoutError, nats.errors.Error):
        await asyncio.sleep(_PAUSE_S)
        return []
    return found


async def connect(job: Job) -> NatsGroups:
    """To one of the three servers; others follow when it is gone."""
    return NatsGroups(await nats.connect(job.addresses))
