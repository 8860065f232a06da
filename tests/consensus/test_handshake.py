"""The conversation in which two nodes prove that they belong together."""

from __future__ import annotations

import pytest

from consensus.handshake import HELLO_BYTES, WELCOME_BYTES, Accepting, Dialing, HandshakeFailed, Identity


def identity(node_id: str, **changes: object) -> Identity:
    """One of a cluster whose secret is known."""
    fields = {"cluster_id": "c1", "incarnation": f"{node_id}-disk", "secret": b"secret"} | changes
    return Identity(node_id=node_id, **fields)  # type: ignore[arg-type]


def test_both_sides_learn_what_the_other_says_of_itself():
    """Names, incarnations and announcements arrive."""
    dialing = Dialing(identity("a"), "b", 7, b"http://a")
    accepting = Accepting(identity("b"))
    claim, challenge = accepting.greet(dialing.hello)
    answered = dialing.check(accepting.finish(dialing.answer(challenge), b"http://b"))
    assert (claim.node_id, claim.incarnation, claim.announcement, claim.epoch) == (
        "a",
        "a-disk",
        b"http://a",
        7,
    )
    assert (answered.node_id, answered.incarnation, answered.announcement) == ("b", "b-disk", b"http://b")


def test_nothing_before_authentication_reaches_a_kibibyte():
    """Every part of the handshake is short and of fixed length."""
    assert HELLO_BYTES < 1024
    assert WELCOME_BYTES < 1024


@pytest.mark.parametrize(
    ("dialer", "target", "reason"),
    [
        (identity("a", cluster_id="c2"), "b", "another cluster"),
        (identity("a"), "x", "wants another node"),
        (identity("b"), "b", "own id"),
    ],
)
def test_a_hello_for_somebody_else_is_refused_with_its_reason(dialer, target, reason):
    """A wrong cluster, a wrong target and our own name each say what is wrong."""
    with pytest.raises(HandshakeFailed, match=reason):
        Accepting(identity("b")).greet(Dialing(dialer, target, 1).hello)


def test_another_version_is_refused():
    """The version is checked before anything behind it."""
    hello = bytearray(Dialing(identity("a"), "b", 1).hello)
    hello[4] = 9
    with pytest.raises(HandshakeFailed, match="version 9"):
        Accepting(identity("b")).greet(bytes(hello))


def test_a_dialer_without_the_secret_is_refused():
    """Its proof does not fit."""
    dialing, accepting = Dialing(identity("a", secret=b"guess"), "b", 1), Accepting(identity("b"))
    _, challenge = accepting.greet(dialing.hello)
    with pytest.raises(HandshakeFailed, match="secret"):
        accepting.finish(dialing.answer(challenge))


def test_an_acceptor_without_the_secret_is_noticed():
    """The dialer sends nothing to whoever took the address of its peer."""
    dialing = Dialing(identity("a"), "b", 1)
    _, challenge = Accepting(identity("b")).greet(dialing.hello)
    proof = dialing.answer(challenge)
    with pytest.raises(HandshakeFailed, match="secret"):
        dialing.check(bytes(WELCOME_BYTES - len(proof)) + proof)


def test_a_proof_of_an_older_conversation_does_not_fit():
    """Each acceptor draws a nonce of its own, so recorded bytes are worth nothing."""
    dialing, first = Dialing(identity("a"), "b", 1), Accepting(identity("b"))
    _, challenge = first.greet(dialing.hello)
    recorded = dialing.answer(challenge)
    second = Accepting(identity("b"))
    second.greet(dialing.hello)
    with pytest.raises(HandshakeFailed, match="secret"):
        second.finish(recorded)


@pytest.mark.parametrize("position", [8, 72, 200, 216, 224, 288, 802])
def test_every_byte_of_the_hello_is_covered_by_the_proof(position):
    """A field that was changed on the way makes the handshake fail."""
    dialing, accepting = Dialing(identity("a"), "b", 1, b"said"), Accepting(identity("b"))
    changed = bytearray(dialing.hello)
    changed[position] ^= 1
    with pytest.raises(HandshakeFailed):
        accepting.finish(dialing.answer(accepting.greet(bytes(changed))[1]))


@pytest.mark.parametrize("text", ["", "x" * 65, "a\0b"])
def test_an_identity_that_can_not_be_said_is_refused_at_once(text):
    """Names have 1 to 64 bytes and no NUL."""
    with pytest.raises(ValueError, match="64 bytes"):
        identity(text)


def test_an_empty_secret_is_refused():
    """A cluster without a secret would let anybody in."""
    with pytest.raises(ValueError, match="secret"):
        identity("a", secret=b"")


def test_the_secret_does_not_show_in_logs():
    """The identity's text leaves it out."""
    assert "hush" not in repr(identity("a", secret=b"hush"))
