"""What has ended is told to a queue: in batches, with the next receive, again after errors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from floodmark.errors import Forbidden, InvalidRequest, OutcomeUnknown, ReceiptExpired, Unavailable
from floodmark.queues import settling
from floodmark.queues.settling import Settler
from floodmark.queues.shapes import Action, Outcome, Settlement
from floodmark.transport import pacing


class Node:
    """What it was sent, in order; it answers what the test says."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.errors: list[Exception] = []
        self.late: set[str] = set()
        self.wrong = ""
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def send(self, settlements: Sequence[Settlement]) -> Sequence[Outcome]:
        """As ``QueueCalls.settle``."""
        self.sent.append([each.receipt for each in settlements])
        await self.may_answer.wait()
        if any(each.receipt == self.wrong for each in settlements):
            raise InvalidRequest("no receipt")
        if self.errors:
            raise self.errors.pop(0)
        return [Outcome.LATE if each.receipt in self.late else Outcome.DONE for each in settlements]


def ack(receipt: str) -> Settlement:
    """It is done."""
    return Settlement(receipt, Action.ACK)


async def test_what_ends_while_a_request_is_under_way_goes_with_the_next_one() -> None:
    """One at a time, each as large as it can be, in order."""
    node = Node()
    settler = Settler("q", node.send)
    node.may_answer.clear()
    await settler.add(ack("0"))
    await asyncio.sleep(0)
    for number in range(1, 2502):
        await settler.add(ack(str(number)))
    node.may_answer.set()
    await settler.close(10)
    assert [len(batch) for batch in node.sent] == [1, 1000, 1000, 501]
    assert [receipt for batch in node.sent for receipt in batch] == [str(number) for number in range(2502)]


async def test_a_receive_takes_along_what_nobody_waits_for() -> None:
    """And only while one is about to be sent; what it does not bring there is sent alone."""
    node = Node()
    settler = Settler("q", node.send)
    settler.leave_to_receive()
    await settler.add(ack("a"))
    await settler.add(Settlement.nack("b"))
    await asyncio.sleep(0.01)
    assert node.sent == []
    taken = settler.take_along()
    assert [ending.settlement.receipt for ending in taken] == ["a", "b"]
    await settler.add(ack("c"))
    await asyncio.sleep(0.01)
    assert node.sent == [["c"]], "no receive is about to be sent"
    settler.put_back(taken)
    await settler.close(10)
    assert node.sent == [["c"], ["a", "b"]]
    settler = Settler("q", node.send)
    settler.leave_to_receive()
    await asyncio.wait_for(settler.add_and_wait(ack("d")), 10)
    assert node.sent[-1] == ["d"], "who waits is not left to a receive, which may wait"


async def test_who_waits_is_told_what_came_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """Late is an error to them, and a line in the log where nobody waits; others are not affected."""
    node = Node()
    node.late = {"late", "unseen"}
    settler = Settler("q", node.send)
    told = await asyncio.gather(
        *(settler.add_and_wait(ack(each)) for each in ("good", "late")), return_exceptions=True
    )
    assert told[0] is None
    assert isinstance(told[1], ReceiptExpired)
    await settler.add(ack("unseen"))
    await settler.close(10)
    assert "1 deliveries ended too late" in caplog.text


async def test_it_is_sent_again_until_it_is_stored_or_refused(
    impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors that may pass are waited out; a refusal is told to whoever waits, and is not repeated."""
    node = Node()
    node.errors = [
        Unavailable("later", retry_after_s=0.001),
        OutcomeUnknown("maybe"),
        OutcomeUnknown("maybe"),
    ]
    settler = Settler("q", node.send)
    await asyncio.wait_for(settler.add_and_wait(ack("a")), 10)
    assert node.sent == [["a"]] * 4
    node.errors = [Forbidden("never")]
    with pytest.raises(Forbidden):
        await settler.add_and_wait(ack("b"))
    node.errors = [Forbidden("never")]
    await settler.add(ack("c"))
    await settler.close(10)
    assert node.sent[4:] == [["b"], ["c"]]
    assert "1 deliveries could not be settled" in caplog.text


async def test_a_wrong_one_does_not_keep_others_from_being_stored(caplog: pytest.LogCaptureFixture) -> None:
    """A request is refused as a whole: each of its settlements is then sent alone."""
    node = Node()
    node.may_answer.clear()
    settler = Settler("q", node.send)
    await settler.add(ack("first"))
    await asyncio.sleep(0)
    told = [asyncio.create_task(settler.add_and_wait(ack(each))) for each in ("good", "fine")]
    await settler.add(ack("wrong"))
    await asyncio.sleep(0)
    node.wrong = "wrong"
    node.may_answer.set()
    await asyncio.wait_for(asyncio.gather(*told), 10)
    await settler.close(10)
    assert node.sent[2:] == [["good"], ["fine"], ["wrong"]] or node.sent[2:] == [
        ["wrong"],
        ["good"],
        ["fine"],
    ]
    assert "1 deliveries could not be settled" in caplog.text
    settler.leave_to_receive()
    await settler.add(ack("wrong"))
    settler.part(settler.take_along())
    settler.leave_to_receive()
    assert settler.take_along() == [], "no receive is refused for it again"


async def test_memory_is_bounded_where_nothing_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who ends one too many waits until there is room; closing ends all the same."""
    monkeypatch.setattr(settling, "_OPEN_MAX", 3)
    node = Node()
    node.may_answer.clear()
    settler = Settler("q", node.send)
    await settler.add(ack("0"))
    await settler.add(ack("1"))
    third = asyncio.create_task(settler.add(ack("2")))
    await asyncio.sleep(0.01)
    assert not third.done()
    node.may_answer.set()
    await asyncio.wait_for(third, 10)
    node.may_answer.clear()
    waiting = asyncio.create_task(settler.add_and_wait(ack("3")))
    await asyncio.sleep(0)
    await asyncio.wait_for(settler.close(0.01), 10)
    with pytest.raises(ReceiptExpired):
        await waiting


async def test_it_waits_before_it_asks_again_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would ask as fast as it can."""
    asked: list[float | None] = []

    def delay(_: object, hint_s: float | None = None) -> float:
        asked.append(hint_s)
        return 0.001

    monkeypatch.setattr(pacing.Backoff, "next_delay_s", delay)
    node = Node()
    node.errors = [Unavailable("later", retry_after_s=7), Unavailable("later")]
    settler = Settler("q", node.send)
    await settler.add(ack("a"))
    await settler.close(10)
    assert (node.sent, asked) == ([["a"]] * 3, [7, None])


async def test_what_is_put_back_goes_before_what_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a receive takes no more along than a request may have."""
    monkeypatch.setattr(settling, "AT_ONCE", 2)
    node = Node()
    settler = Settler("q", node.send)
    settler.leave_to_receive()
    for receipt in "abc":
        await settler.add(ack(receipt))
    taken = settler.take_along()
    assert [ending.settlement.receipt for ending in taken] == ["a", "b"]
    settler.put_back(taken)
    await settler.close(10)
    assert node.sent == [["a", "b"], ["c"]]
