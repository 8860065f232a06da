"""The client: where a program's use of Floodmark begins."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

import msgspec

from floodmark.admin.acls import Acls
from floodmark.admin.cluster import Cluster, Node
from floodmark.admin.quotas import Quotas
from floodmark.admin.topics import Topics
from floodmark.consumer.fetcher import Bounds, End, FetchOptions, Start, check_start, tail
from floodmark.consumer.reader import BatchReader, RecordReader
from floodmark.errors import TopicDeleted
from floodmark.format.headers import HeadersLike
from floodmark.format.names import check_name
from floodmark.format.values import Key, Timestamp
from floodmark.groups.consumer import GroupConsumer
from floodmark.groups.groups import Groups
from floodmark.groups.options import (
    REBALANCE_S,
    SESSION_S,
    Commit,
    ConsumeOptions,
    OnGap,
    OnPartitions,
    WhereNone,
    topics_of,
)
from floodmark.keywords import OfProducer
from floodmark.pin import Pin
from floodmark.processor.options import ProcessOptions, Step
from floodmark.processor.processor import Processor, each_of
from floodmark.producer.delivery import Delay
from floodmark.producer.options import Acks, Compression, ProducerOptions
from floodmark.producer.produced import Produced
from floodmark.producer.producer import Producer
from floodmark.producer.single import SingleProducers
from floodmark.queues.jobs import Jobs
from floodmark.queues.queue import Queue
from floodmark.queues.queues import Queues
from floodmark.transport.credentials import Token
from floodmark.transport.http import Request, Transport
from floodmark.transport.pacing import Deadline
from floodmark.transport.tls import Cert, Tls, TlsOptions

T = TypeVar("T")

DEFAULT_URL: Final = "http://localhost:7070"
_PREFETCH_BYTES: Final = 32 << 20
_AGAIN_S: Final = 0.05
"""Pause before a record goes to a topic that was created again: nodes may not know of it yet."""


class Client:
    """A connection to a cluster, over the nodes at ``urls`` and those it learns of.

    Any node answers any request; the client goes straight to leaders once it knows them. Nothing is sent
    before the first call, and ``close()`` always returns.

    timeout_s          deadline of each call that has no timeout of its own
    request_timeout_s  how long one node may take before another one is asked
    token              says who you are: a token; the ``Path`` of a file with one, which only its owner can
                       read; or a function that returns one, or an awaitable. The file and the function are
                       asked again when a node refuses the token
    tls                whose certificates are trusted: the path of a file with the cluster's CA, True for what
                       this machine trusts, or an ``ssl.SSLContext``; then nothing is sent without TLS
    cert               the client's own certificate: the path of a PEM file, or (certificate, key)
    """

    def __init__(
        self,
        urls: str | Sequence[str] = DEFAULT_URL,
        *,
        timeout_s: float = 30.0,
        request_timeout_s: float = 5.0,
        token: Token | None = None,
        tls: Tls = None,
        cert: Cert = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._transport = Transport(
            [urls] if isinstance(urls, str) else urls,
            request_timeout_s=request_timeout_s,
            token=token,
            tls=TlsOptions(tls, cert),
        )
        self.topics = Topics(self._transport, timeout_s)
        self.acls = Acls(self._transport, timeout_s)
        self.quotas = Quotas(self._transport, timeout_s)
        self.groups = Groups(self._transport, timeout_s)
        self.queues = Queues(self._transport, timeout_s)
        self._producers: weakref.WeakSet[Producer] = weakref.WeakSet()
        self._readers: weakref.WeakSet[BatchReader] = weakref.WeakSet()
        self._consumers: weakref.WeakSet[GroupConsumer] = weakref.WeakSet()
        self._jobs: weakref.WeakSet[Jobs] = weakref.WeakSet()
        self._singles = SingleProducers(self._transport, self.topics)

    # -- writing ---------------------------------------------------------------------------------------

    async def produce(
        self,
        topic: str,
        value: Any,
        *,
        key: Key = None,
        partition: int | None = None,
        headers: HeadersLike | None = None,
        timestamp: Timestamp = None,
        delay: Delay = None,
        deliver_at: Timestamp = None,
        acks: Acks = "quorum",
        timeout_s: float | None = None,
    ) -> Produced:
        """Store one record and say where. Bytes are stored as they are, everything else as JSON.
        ``delay`` (seconds) or ``deliver_at``: queues deliver it then, and not before.

        Calls that run at the same time share batches. The record is stored at most once, whatever is repeated
        on the way. Raises ``OutcomeUnknown`` when the time is up and it may be stored.
        """
        self._transport.home.check_new()
        within_s = self._timeout_s if timeout_s is None else timeout_s
        deadline = Deadline(within_s)
        while True:
            producer = self._singles.get(check_name(topic), acks, within_s)
            try:
                ack = await producer.send(
                    value,
                    key=key,
                    partition=partition,
                    headers=headers,
                    timestamp=timestamp,
                    delay=delay,
                    deliver_at=deliver_at,
                )
                return await ack
            except TopicDeleted:
                # It was not stored. The caller means the topic that has the name now, if there is one.
                self._singles.let_go(producer)
                if deadline.remaining_s <= _AGAIN_S:
                    raise
                await asyncio.sleep(_AGAIN_S)

    def producer(self, topic: str, **options: Unpack[OfProducer]) -> Producer:
        """A producer that batches, for many records: see ``ProducerOptions`` for the options.

        ``async with client.producer("orders", linger_ms=5) as producer: ack = await producer.send(value)``
        """
        self._transport.home.check_new()
        producer = Producer(topic, ProducerOptions(**options), self._transport, self.topics)
        self._producers.add(producer)
        return producer

    # -- reading ---------------------------------------------------------------------------------------

    def read(
        self,
        topic: str,
        partition: int | None = None,
        *,
        start: Start = "earliest",
        end: End = None,
        follow: bool = False,
        idle_s: float | None = None,
        timeout_s: float | None = None,
        prefetch_bytes: int = _PREFETCH_BYTES,
        topic_id: int | None = None,
    ) -> RecordReader:
        """Records of one partition, or of all: ``async for record in client.read("orders")``.

        start   an offset; -10 for the last ten (of each partition); "earliest"; "latest"; a ``datetime``:
                from the first record of this time or a later one
        end     the offset to stop before
        follow  wait for what is stored from now on, instead of stopping at what is stored when the reading
                begins; there is no error for "nothing yet"
        idle_s  stop after waiting this long for a record; ``reader.stop()`` ends the loop from outside, after
                the records that have already arrived

        topic_id  the topic that the offsets belong to, if that is known (``reader.topic_id``,
                ``topics.describe``): another one of the name is not read

        Reading begins with the loop, or with ``async with client.read(...) as records``. A reader belongs to
        one topic id: it raises ``TopicDeleted`` when that topic is gone, and never goes on in one that was
        created under the same name later.
        """
        return RecordReader(
            self.read_batches(
                topic,
                partition,
                start=start,
                end=end,
                follow=follow,
                idle_s=idle_s,
                timeout_s=timeout_s,
                prefetch_bytes=prefetch_bytes,
                topic_id=topic_id,
            )
        )

    def read_batches(
        self,
        topic: str,
        partition: int | None = None,
        *,
        start: Start = "earliest",
        end: End = None,
        follow: bool = False,
        idle_s: float | None = None,
        timeout_s: float | None = None,
        prefetch_bytes: int = _PREFETCH_BYTES,
        topic_id: int | None = None,
    ) -> BatchReader:
        """Like ``read``, by whole batches: several times faster where records are small."""
        self._transport.home.check_new()
        options = FetchOptions(
            start=check_start(start),
            end=end,
            follow=follow,
            max_bytes=prefetch_bytes,
            wait_s=10.0,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
        )
        reader = BatchReader(
            self._transport,
            self.topics,
            check_name(topic),
            partition,
            options,
            prefetch_bytes=prefetch_bytes,
            topic_id=topic_id,
            idle_s=idle_s,
        )
        self._readers.add(reader)
        return reader

    def consume(
        self,
        topics: str | Sequence[str] | None = None,
        *,
        group: str,
        pattern: str | None = None,
        start: WhereNone = "earliest",
        commit: Commit = "next",
        follow: bool = True,
        instance_id: str | None = None,
        assignor: str | None = None,
        session_timeout_s: float = SESSION_S,
        rebalance_timeout_s: float = REBALANCE_S,
        on_assigned: OnPartitions | None = None,
        on_revoked: OnPartitions | None = None,
        on_lost: OnPartitions | None = None,
        on_gap: OnGap | None = None,
        timeout_s: float | None = None,
        prefetch_bytes: int = _PREFETCH_BYTES,
    ) -> GroupConsumer:
        """Records of topics, shared with all others who consume as ``group``, from where the group is.

        ``async for record in client.consume("orders", group="billing")``. Nodes keep the positions.

        topics               one or several; or ``pattern`` for all whose whole names match it
        start                where to begin where the group has no position: ``earliest``, ``latest``, or
                             ``none`` to raise ``NoCommittedOffset``
        commit               ``next``: a record is done with when the next one is asked for, and committed
                             soon after; ``manual``: ``await consumer.commit()``; or seconds: every so often
        follow               False: end when all partitions that this member has are read to their ends
        instance_id          a name that stays over restarts: a member that comes back within its session gets
                             its partitions back, and nobody else has to move
        assignor             ``sticky`` (the default) or ``range``
        session_timeout_s    after so long without a heartbeat others get its partitions; heartbeats go on in
                             the background
        rebalance_timeout_s  how long the program may take for one record while others wait for a partition
        on_assigned          called, or awaited, with the partitions that came, before they are read
        on_revoked           with those that go, before their last positions are committed
        on_lost              with those that are others' already; by default ``on_revoked``
        on_gap               with a partition and offsets, once, where retention was faster than the group:
                             records ``first <= offset < next`` were removed unread; by default it is logged
        """
        self._transport.home.check_new()
        consumer = GroupConsumer(
            self._transport,
            self.topics,
            ConsumeOptions(
                group=group,
                topics=topics_of(topics),
                pattern=pattern,
                start=start,
                commit=commit,
                follow=follow,
                instance_id=instance_id,
                assignor=assignor,
                session_timeout_s=session_timeout_s,
                rebalance_timeout_s=rebalance_timeout_s,
                on_assigned=on_assigned,
                on_revoked=on_revoked,
                on_lost=on_lost,
                on_gap=on_gap,
                prefetch_bytes=prefetch_bytes,
                timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            ),
        )
        self._consumers.add(consumer)
        return consumer

    def queue(self, queue: str, *, worker: str | None = None, timeout_s: float | None = None) -> Queue:
        """A queue, to work it off: its records are settled one by one, by as many workers as you like.

            async with client.queue("jobs") as queue:
                await queue.run(handle, concurrency=20)

        ``worker`` names the program in dead letters, by default by its host and process. ``queues`` makes
        queues, and looks after them.
        """
        self._transport.home.check_new()
        within_s = self._timeout_s if timeout_s is None else timeout_s
        return Queue(self._transport, queue, worker=worker, timeout_s=within_s, register=self._jobs.add)

    async def tail(
        self, topic: str, partition: int, *, topic_id: int | None = None, timeout_s: float | None = None
    ) -> Bounds:
        """What a partition holds right now, confirmed by a majority of its replicas."""
        return await tail(
            self._transport,
            f"/v1/topics/{check_name(topic)}/partitions/{partition}",
            f"{topic}/{partition}",
            self._timeout_s if timeout_s is None else timeout_s,
            pin=Pin(topic_id),
        )

    # -- both ------------------------------------------------------------------------------------------

    def process(
        self,
        source: str,
        target: str,
        *,
        group: str,
        step: Step,
        partitions: Sequence[int] | None = None,
        follow: bool = True,
        batch_bytes: int = 1 << 20,
        compression: Compression = "none",
        timeout_s: float | None = None,
        position_every_s: float = 5.0,
    ) -> Processor:
        """Make records of topic ``source`` into records of topic ``target``, exactly once whatever crashes:
        ``await client.process("orders", "totals", group="totals", step=total)``.

        step    given each record in turn; returns an ``Output``, several, or None, or an awaitable of that
        group   the name of this work: how far it has come is kept with what it stores

        Partition i is made into partition i. The other options are those of ``ProcessOptions``. One instance
        at a time processes a partition: each that begins fences the one before (``ProducerFenced``).
        """
        options = ProcessOptions(
            partitions=partitions,
            follow=follow,
            batch_bytes=batch_bytes,
            compression=compression,
            timeout_s=timeout_s,
            position_every_s=position_every_s,
        )
        within_s = self._timeout_s if timeout_s is None else timeout_s

        def read(partition: int, offset: int | None, topic_id: int) -> BatchReader:
            return self.read_batches(
                source,
                partition,
                start="earliest" if offset is None else offset,
                follow=follow,
                timeout_s=within_s,
                topic_id=topic_id,
            )

        self._transport.home.check_new()
        return Processor(
            self._transport,
            self.topics,
            read,
            (source, target),
            group,
            each_of(step),
            options,
            timeout_s=within_s,
        )

    # -- the cluster -----------------------------------------------------------------------------------

    async def cluster(self, *, timeout_s: float | None = None) -> Cluster:
        """The cluster as the node that answers sees it."""
        return await self._get("/v1/cluster", Cluster, timeout_s)

    async def nodes(self, *, timeout_s: float | None = None) -> list[Node]:
        """All nodes, in order of id."""
        return (await self._get("/v1/nodes", _Nodes, timeout_s)).nodes

    # -- ending ----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop readers, send what producers hold, close connections. Always returns, at the latest when the
        producers' delivery timeouts have passed.

        Called from another event loop than the client's own, it closes the client over there, if that loop
        still runs. In a forked child, or when that loop has ended, it only drops its references.
        """
        home = self._transport.home
        home.is_closing = True
        if not home.is_here:
            if not home.is_forked and home.loop is not None and home.loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.close(), home.loop))
            await self._transport.close()
            return
        try:
            reading = [reader.aclose() for reader in self._readers]
            reading += [consumer.aclose() for consumer in self._consumers]
            reading += [jobs.aclose() for jobs in self._jobs]
            await asyncio.gather(*reading, return_exceptions=True)
            closing = [producer.close() for producer in [*self._producers, *self._singles.take_all()]]
            await asyncio.gather(*closing, return_exceptions=True)
        finally:
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _get(self, path: str, cls: type[T], timeout_s: float | None) -> T:
        deadline = Deadline(self._timeout_s if timeout_s is None else timeout_s)
        return (await self._transport.call(Request(method="GET", path=path), deadline)).convert(cls)


class _Nodes(msgspec.Struct):
    nodes: list[Node]
