"""A small order service: orders are records of a topic, and what was sold is counted from them."""

from __future__ import annotations

import time
from collections import Counter

from floodmark.errors import OutcomeUnknown, TransportError, Unavailable
from floodmark.sync import Client

ATTEMPT_S = 2.0


class NotConfirmed(Exception):
    """The order may or may not have been taken. Placing it again, with the same id, is safe."""


class Shop:
    """Takes orders."""

    def __init__(self, client: Client, topic: str) -> None:
        self._client = client
        self._topic = topic

    def place(self, order_id: str, item: str, quantity: int = 1, *, timeout_s: float = 30.0) -> None:
        """Return once the order cannot be lost any more. Raises ``NotConfirmed`` when the time is up.

        An attempt whose outcome is not known is repeated, so the order may be stored twice: readers
        have to compare ids.
        """
        order = {"id": order_id, "item": item, "quantity": quantity}
        give_up = time.monotonic() + timeout_s
        while (left := give_up - time.monotonic()) > 0:
            try:
                self._client.produce(self._topic, order, key=item, timeout_s=min(left, ATTEMPT_S))
            except (OutcomeUnknown, Unavailable, TransportError):
                continue
            return
        raise NotConfirmed(order_id)


class Sales:
    """Counts what was sold, each order once."""

    def __init__(self, client: Client, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._next_offset = 0
        self._seen: set[str] = set()
        self.sold: Counter[str] = Counter()

    def catch_up(self) -> None:
        """Read the orders that are new since the last time."""
        for record in self._client.read(self._topic, partition=0, start=self._next_offset):
            self._next_offset = record.offset + 1
            order = record.json()
            if order["id"] not in self._seen:
                self._seen.add(order["id"])
                self.sold[order["item"]] += order["quantity"]
