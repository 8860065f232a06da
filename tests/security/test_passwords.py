"""Passwords: verifiers as the RFCs have them, the same effort for everybody, and few attempts."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import threading
from collections.abc import Sequence

import pytest
from floodmark.errors import InvalidRequest, TooManyRequests

from node.metadata.state import Verifier
from node.security import passwords as module
from node.security import scram
from node.security.passwords import AT_ONCE, PER_S, Attempts, Passwords
from node.security.scram import check_password, matching, verifier, verifiers_of


def test_a_verifier_is_the_one_of_the_example_of_rfc_7677() -> None:
    """User ``user``, password ``pencil``: what the server proves with its ServerKey is in the RFC."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    made = verifier("pencil", "SCRAM-SHA-256", salt, 4096)
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = (
        f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}".encode()
    )
    assert (
        base64.b64encode(hmac.digest(made.server_key, message, "sha256"))
        == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    )
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_signature = hmac.digest(made.stored_key, message, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, client_signature, strict=True))
    assert hashlib.sha256(client_key).digest() == made.stored_key


def test_a_password_fits_its_own_verifiers_alone() -> None:
    """Of either mechanism, in every spelling of the same characters; each time with another salt."""
    made = verifiers_of("pässword 1", iterations=10)
    assert [each.mechanism for each in made] == ["SCRAM-SHA-256", "SCRAM-SHA-512"]
    assert made != verifiers_of("pässword 1", iterations=10)
    for each in made:
        assert matching("pässword 1", [each]) == each
        assert matching("pa\u0308ssword 1", [each]) == each
        assert matching("pässword 2", [each]) is None
        assert b"ssword" not in each.stored_key + each.server_key + each.salt
    assert matching("pässword 1", []) is None
    assert matching("pässword 1", [Verifier("SCRAM-OTHER", b"", 1, b"", b"")]) is None


@pytest.mark.parametrize(
    "password", ["", "short", "x" * 257, "with\nnewline", "with\0zero and more", "\ud800" * 9]
)
def test_what_is_no_password_is_refused(password: str) -> None:
    with pytest.raises(InvalidRequest, match="a password has"):
        check_password(password)


async def test_who_does_not_exist_takes_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in iterations: nobody learns by the time who is a user, and who has a password."""
    work: list[tuple[str, int]] = []
    derive = hashlib.pbkdf2_hmac

    def counted(hashed: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        work.append((hashed, iterations))
        return derive(hashed, password, salt, 1)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    known = verifiers_of("a long password")
    work.clear()
    passwords = Passwords()
    for verifiers in (known, []):
        assert await passwords.matching("a wrong password", verifiers) is None
    assert work == [("sha256", scram.ITERATIONS)] * 2
    passwords.close()


def test_attempts_are_few_for_each_name_and_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some at once, then one now and then; one name takes nothing from another."""
    now = 5.0
    attempts = Attempts(lambda: now)
    for _ in range(AT_ONCE):
        attempts.count("ann")
    with pytest.raises(TooManyRequests) as refused:
        attempts.count("ann")
    assert refused.value.retry_after_s == 1 / PER_S
    attempts.count("bob")
    now += 1 / PER_S
    attempts.count("ann")
    with pytest.raises(TooManyRequests):
        attempts.count("ann")
    monkeypatch.setattr(module, "_REMEMBERED_MAX", 5)
    for number in range(20):
        attempts.count(f"{number}")
        assert len(attempts._left) <= 6


async def test_only_so_many_wait_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is refused at once, and the event loop never waits."""
    gate = threading.Event()

    def slow(_password: str, _verifiers: Sequence[Verifier]) -> None:
        gate.wait(10)

    monkeypatch.setattr(scram, "matching", slow)
    passwords = Passwords()
    waiting = [asyncio.ensure_future(passwords.matching("x", [])) for _ in range(module.WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await passwords.matching("x", [])
    gate.set()
    await asyncio.gather(*waiting)
    assert await passwords.matching("x", []) is None
    passwords.close()
