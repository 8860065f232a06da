"""The conversation in which two nodes prove that they belong together."""

from __future__ import annotations

import struct

import pytest

from consensus.links.handshake import (
    HELLO_BYTES,
    PREFIX_BYTES,
    SPOKEN,
    WELCOME_BYTES,
    Accepting,
    Dialing,
    HandshakeFailed,
    Identity,
    NoCommonVersion,
    Versions,
)


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


@pytest.mark.parametrize(
    ("dialer", "acceptor", "used"),
    [((3, 3), (3, 3), 3), ((3, 5), (3, 3), 3), ((3, 3), (3, 5), 3), ((3, 6), (5, 9), 6), ((4, 4), (3, 9), 4)],
)
def test_the_highest_version_that_both_speak_is_used(dialer, acceptor, used):
    """Both sides come to the same one, whoever speaks more."""
    dialing = Dialing(identity("a", versions=Versions(*dialer)), "b", 1)
    accepting = Accepting(identity("b", versions=Versions(*acceptor)))
    _, challenge = accepting.greet(dialing.hello)
    dialing.check(accepting.finish(dialing.answer(challenge)))
    assert dialing.version == accepting.version == used


def test_ranges_that_do_not_meet_are_refused_by_both_with_both_named():
    """The acceptor sees it in the hello, the dialer in the challenge that is sent all the same."""
    dialing = Dialing(identity("a", versions=Versions(3, 4)), "b", 1)
    accepting = Accepting(identity("b", versions=Versions(6, 7)))
    with pytest.raises(NoCommonVersion, match=r"speaks versions 3 to 4 .* this node 6 to 7: start .* there"):
        accepting.agree(dialing.hello[:PREFIX_BYTES])
    with pytest.raises(NoCommonVersion, match=r"speaks versions 6 to 7 .* this node 3 to 4: start .* here"):
        dialing.answer(accepting.challenge())


def test_a_build_before_ranges_is_refused_by_name():
    """It says version 2 and nothing more; and it refuses ours, for it wants exactly 2 and then zero."""
    old_hello = struct.pack("<4sHH826x", b"FMP1", 2, 0)
    ours = f"{SPOKEN.lowest} to {SPOKEN.highest}"
    with pytest.raises(NoCommonVersion, match=f"speaks version 2 .* this node {ours}: start .* there"):
        Accepting(identity("b")).greet(old_hello)
    with pytest.raises(NoCommonVersion, match="version 2 "):
        Dialing(identity("a"), "b", 1).answer(struct.pack("<4sHH32x", b"FMP1", 2, 0))
    for ours in (Dialing(identity("a"), "b", 1).hello, Accepting(identity("b")).challenge()):
        assert struct.unpack_from("<4sHH", ours) == (b"FMP1", SPOKEN.highest, SPOKEN.lowest)
        assert SPOKEN.highest != 2


def test_a_range_that_is_none_is_not_the_protocol():
    """The lowest version is not above the highest."""
    with pytest.raises(HandshakeFailed, match="not the peer protocol"):
        Accepting(identity("b")).agree(struct.pack("<4sHH", b"FMP1", 3, 4))


@pytest.mark.parametrize("part", ["hello", "challenge", "both"])
def test_nobody_in_the_middle_brings_two_nodes_to_an_older_version(part):
    """The ranges are covered by the proofs: who changes one in either part ends the handshake."""
    dialing = Dialing(identity("a", versions=Versions(3, 5)), "b", 1)
    accepting = Accepting(identity("b", versions=Versions(3, 5)))
    lowered = struct.pack("<HH", 3, 3)

    def passed_on(data: bytes, name: str) -> bytes:
        return data[:4] + lowered + data[PREFIX_BYTES:] if part in (name, "both") else data

    _, challenge = accepting.greet(passed_on(dialing.hello, "hello"))
    proof = dialing.answer(passed_on(challenge, "challenge"))
    assert 3 in (dialing.version, accepting.version), "the change would have had its way"
    with pytest.raises(HandshakeFailed, match="secret"):
        accepting.finish(proof)


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
def test_an_identity_that_cannot_be_said_is_refused_at_once(text):
    """Names have 1 to 64 bytes and no NUL."""
    with pytest.raises(ValueError, match="64 bytes"):
        identity(text)


def test_an_empty_secret_is_refused():
    """A cluster without a secret would let anybody in."""
    with pytest.raises(ValueError, match="secret"):
        identity("a", secret=b"")
    with pytest.raises(ValueError, match="secret"):
        identity("a", others=(b"",))


@pytest.mark.parametrize(
    ("dialer", "acceptor", "used"),
    [
        (("old",), ("old", "new"), "old"),
        (("old", "new"), ("new", "old"), "old"),
        (("new", "old"), ("old", "new"), "new"),
        (("new", "old"), ("new",), "new"),
        (("old", "new"), ("new",), ""),
        (("old",), ("new",), ""),
    ],
)
def test_while_the_secret_is_changed_the_dialer_decides_which_is_used(dialer, acceptor, used):
    """It proves its first; whoever accepts that one answers with it, and both have the same keys."""
    first, *others = (each.encode() for each in dialer)
    dialing = Dialing(identity("a", secret=first, others=tuple(others)), "b", 1)
    first, *others = (each.encode() for each in acceptor)
    accepting = Accepting(identity("b", secret=first, others=tuple(others)))
    _, challenge = accepting.greet(dialing.hello)
    proof = dialing.answer(challenge)
    if not used:
        with pytest.raises(HandshakeFailed, match="the dialer does not know the cluster's secret"):
            accepting.finish(proof)
        return
    dialing.check(accepting.finish(proof))
    assert dialing.secret == accepting.secret == used.encode()
    assert (dialing.key, dialing.key_back) == (accepting.key, accepting.key_back)


def test_the_secret_does_not_show_in_logs():
    """The identity's text leaves it out."""
    assert "hush" not in repr(identity("a", secret=b"hush", others=(b"hush too",)))
