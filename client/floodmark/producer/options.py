"""The options of a producer, with units, and checked together."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec

from floodmark.errors import InvalidRequest
from floodmark.format.batch import CODEC_NONE, CODEC_ZSTD, ProducerKind, numbered_id_of, producer_id_of
from floodmark.format.limits import BATCH_BYTES_MAX
from floodmark.producer.numbering import Epoch, Numbering
from floodmark.producer.sender_options import SenderOptions

Acks = Literal["quorum", "leader", "none"]
Compression = Literal["none", "zstd"]

CODECS: Final = {"none": CODEC_NONE, "zstd": CODEC_ZSTD}


class ProducerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a producer batches and what it promises.

    linger_ms           how long a record may wait for others to share its batch; with 0 it leaves at once,
                        or, while another batch of its partition is under way, with the answer to that one
    batch_bytes         a batch leaves when it has grown to this
    compression         "zstd" or "none"
    idempotent          number the batches: kept in order, stored once however often they are sent
    name, epoch         identify this producer across restarts; each start needs a higher epoch, which fences
                        the one before. Without them the cluster assigns an id (or the producer takes a
                        random name if it cannot get one), and the epoch is managed automatically
    acks                "quorum": on disk on a majority; "leader": on the leader's disk; "none": received
    memory_bytes_max    records that are accepted and not settled; beyond this, ``send`` waits
    delivery_timeout_s  a record is settled, one way or the other, within this time
    in_flight_max       batches under way at once per partition (one, when not idempotent)
    """

    linger_ms: float = 5.0
    batch_bytes: int = 1 << 20
    compression: Compression = "none"
    idempotent: bool = True
    name: str | None = None
    epoch: int | None = None
    acks: Acks = "quorum"
    memory_bytes_max: int = 64 << 20
    delivery_timeout_s: float = 30.0
    in_flight_max: int = 4

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the option."""
        if self.compression not in CODECS:
            raise InvalidRequest(f"compression must be none or zstd, not {self.compression!r}")
        if self.acks not in ("quorum", "leader", "none"):
            raise InvalidRequest(f"acks must be quorum, leader or none, not {self.acks!r}")
        if not 1 <= self.batch_bytes <= BATCH_BYTES_MAX:
            raise InvalidRequest(f"batch_bytes must be 1 to {BATCH_BYTES_MAX}, not {self.batch_bytes}")
        if self.linger_ms < 0 or self.memory_bytes_max < 1 or self.delivery_timeout_s <= 0:
            raise InvalidRequest("linger_ms, memory_bytes_max and delivery_timeout_s must be positive")
        if not 1 <= self.in_flight_max <= 5:
            raise InvalidRequest(
                "in_flight_max must be 1 to 5: nodes remember no more of a producer's batches"
            )
        if (self.name is None) != (self.epoch is None):
            raise InvalidRequest(
                "name and epoch go together: give a named producer a higher epoch at each start"
            )
        if self.name is not None and not self.idempotent:
            raise InvalidRequest("a named producer must be idempotent: leave idempotent=False out")

    def for_senders(self) -> SenderOptions:
        """The part that the senders need."""
        return SenderOptions(
            linger_s=self.linger_ms / 1000,
            batch_bytes=self.batch_bytes,
            codec=CODECS[self.compression],
            is_durable=self.acks == "quorum",
            in_flight_max=self.in_flight_max if self.idempotent else 1,
            delivery_timeout_s=self.delivery_timeout_s,
        )

    async def numbering(self, batch_format: int, new_id: Callable[[], Awaitable[int | None]]) -> Numbering:
        """The identity of one producer, in a cluster that accepts batches of this format.

        ``new_id`` is asked for a number if the cluster has them. If it returns None a random name is used:
        storing records must not depend on the metadata. Raises what ``new_id`` raises.
        """
        if not self.idempotent:
            return Numbering(Epoch(), batch_format=batch_format)
        if self.name is None and batch_format > 1:
            number = await new_id()
            if number is not None:
                return Numbering(Epoch(numbered_id_of(number), 0, ProducerKind.NUMBERED))
        name = producer_id_of(self.name or uuid.uuid4().hex)
        epoch = Epoch(name, self.epoch or 0, ProducerKind.NAMED)
        return Numbering(epoch, owns_epoch=self.name is None, batch_format=batch_format)
