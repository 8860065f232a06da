"""Receipts: what a node gave to a principal for a queue, and nothing else, names a delivery."""

from __future__ import annotations

import base64

import pytest
from floodmark.errors import InvalidRequest
from hypothesis import given
from hypothesis import strategies as st

from node.broker.queues import Place
from node.service import group_token, queue_receipt
from node.service.group_token import GroupToken
from node.service.queue_receipt import Delivery

KEYS = (b"k" * 32,)
WHOLE = st.integers(0, (1 << 63) - 1)
deliveries = st.lists(
    st.builds(
        Delivery,
        st.builds(Place, st.integers(0, 3), st.integers(0, 2), st.integers(0, 2_000)),
        st.sampled_from([0, 1, 7, (1 << 63) - 1]),
    ),
    max_size=20,
)


def _given(queue: str = "jobs", principal: str = "ann") -> str:
    return queue_receipt.encode([Delivery(Place(7, 3, 41), 99)], queue, principal, KEYS)[0]


@given(deliveries)
def test_whatever_is_delivered_has_receipts_that_name_it(given_out: list[Delivery]) -> None:
    """In whatever order, and however many share a lease; each text is of one delivery."""
    receipts = queue_receipt.encode(given_out, "jobs", "ann", KEYS)
    assert queue_receipt.decode(receipts, "jobs", "ann", KEYS) == given_out
    assert len(set(receipts)) == len(set(given_out))
    back = list(reversed(receipts))
    assert queue_receipt.decode(back, "jobs", "ann", KEYS) == list(reversed(given_out))


@given(WHOLE, st.integers(0, (1 << 32) - 1), WHOLE, WHOLE)
def test_every_place_and_lease_fits(topic_id: int, partition: int, offset: int, lease: int) -> None:
    """To the highest numbers that there are."""
    one = Delivery(Place(topic_id, partition, offset), lease)
    assert queue_receipt.decode(queue_receipt.encode([one], "jobs", "ann", KEYS), "jobs", "ann", KEYS) == [
        one
    ]


def test_neighbours_share_a_seal() -> None:
    """A thousand records that were delivered together cost one."""
    many = [Delivery(Place(7, 0, 5_000 + number), 99) for number in range(1_000)]
    receipts = queue_receipt.encode(many, "jobs", "ann", KEYS)
    assert len({receipt.partition(".")[0] for receipt in receipts}) == 1
    assert [receipt.partition(".")[2] for receipt in receipts] == [str(number) for number in range(1_000)]


def test_a_former_secret_of_the_cluster_is_known_as_long_as_it_is_kept() -> None:
    """So a change of the secret makes no receipt void."""
    assert queue_receipt.decode([_given()], "jobs", "ann", (b"n" * 32, *KEYS)) == [
        Delivery(Place(7, 3, 41), 99)
    ]
    with pytest.raises(InvalidRequest, match="of another queue, user or cluster"):
        queue_receipt.decode([_given()], "jobs", "ann", (b"n" * 32,))


@pytest.mark.parametrize(
    ("receipt", "why"),
    [
        ("", "changed on its way"),
        ("none", "changed on its way"),
        (".0", "changed on its way"),
        ("AAAA", "changed on its way"),
        ("A.0", "changed on its way"),
        ("AAAA.0", "of another queue"),
        ("A" * 64 + ".0", "of another queue"),
        ("A" * 4096 + ".0", "changed on its way"),
        (_given() + "1", "changed on its way"),
        (_given().replace(".0", ".1"), "changed on its way"),
        (_given().replace(".0", ".00"), "changed on its way"),
        (_given().replace(".0", ".-1"), "changed on its way"),
        (_given().replace(".0", ".99999999999999999999"), "changed on its way"),
        (_given() + "\n", "changed on its way"),
        (_given("other"), "of another queue"),
        (_given(principal="bob"), "of another queue"),
        ("é.0", "changed on its way"),
    ],
)
def test_nothing_else_is_a_receipt(receipt: str, why: str) -> None:
    """One that is none refuses all: then nothing of the request is done."""
    for receipts in ([receipt], [_given(), receipt], [receipt, _given()]):
        with pytest.raises(InvalidRequest, match=why):
            queue_receipt.decode(receipts, "jobs", "ann", KEYS)


def test_no_bit_of_a_receipt_can_be_changed() -> None:
    """Of what is sealed, or of the seal."""
    head, _, index = _given().partition(".")
    whole = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    for place in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        text = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        with pytest.raises(InvalidRequest, match="invalid receipt"):
            queue_receipt.decode([f"{text}.{index}"], "jobs", "ann", KEYS)


@given(st.binary(max_size=100))
def test_no_other_bytes_are_a_receipt(whole: bytes) -> None:
    """Whatever they look like."""
    text = base64.urlsafe_b64encode(whole).rstrip(b"=").decode()
    with pytest.raises(InvalidRequest, match="invalid receipt"):
        queue_receipt.decode([f"{text}.0"], "jobs", "ann", KEYS)


def test_a_token_of_a_group_is_no_receipt() -> None:
    """Both are sealed with the same key, each for its own purpose."""
    token = group_token.encode(GroupToken("jobs", "m", 1, ()), "ann", KEYS)
    with pytest.raises(InvalidRequest, match="of another queue"):
        queue_receipt.decode([f"{token}.0"], "jobs", "ann", KEYS)
