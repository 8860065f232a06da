"""What is kept of a password: SCRAM verifiers (RFC 5802, RFC 7677).

A verifier tells whether a password is right and does not tell the password. A Kafka client proves with SCRAM
that it knows the password, without sending it; ``floodmark login`` sends it over TLS, and it is checked here.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Sequence
from typing import Final

from floodmark.errors import InvalidRequest

from node.metadata.state import Verifier

MECHANISMS: Final = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
ITERATIONS: Final = 60_000
"""Of new verifiers: about 30 ms of a core for a guess."""
_SALT_BYTES: Final = 24
_PASSWORD_MIN: Final = 8
_PASSWORD_MAX: Final = 256


def check_password(password: str) -> None:
    """Raises ``InvalidRequest`` for one that is not accepted."""
    if not _PASSWORD_MIN <= len(password) <= _PASSWORD_MAX:
        raise InvalidRequest(f"a password has {_PASSWORD_MIN} to {_PASSWORD_MAX} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in password):
        raise InvalidRequest("a password has no control characters")


def verifiers_of(password: str, *, iterations: int = ITERATIONS) -> list[Verifier]:
    """New ones, one of each mechanism. It takes some time: not on an event loop."""
    return [
        verifier(password, mechanism, secrets.token_bytes(_SALT_BYTES), iterations)
        for mechanism in MECHANISMS
    ]


def verifier(password: str, mechanism: str, salt: bytes, iterations: int) -> Verifier:
    """The verifier of a password."""
    hashed = MECHANISMS[mechanism]
    salted = hashlib.pbkdf2_hmac(hashed, _bytes(password), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", hashed)
    return Verifier(
        mechanism,
        salt,
        iterations,
        hashlib.new(hashed, client_key).digest(),
        hmac.digest(salted, b"Server Key", hashed),
    )


def matching(password: str, verifiers: Sequence[Verifier]) -> Verifier | None:
    """The verifier that the password fits; None where it is wrong or there is none.

    It takes as long with no verifier as with one that does not fit. Not on an event loop.
    """
    known = next((each for each in verifiers if each.mechanism in MECHANISMS), None)
    asked = known or Verifier("SCRAM-SHA-256", bytes(_SALT_BYTES), ITERATIONS, b"", b"")
    found = verifier(password, asked.mechanism, asked.salt, asked.iterations)
    is_right = hmac.compare_digest(found.stored_key, asked.stored_key)
    return known if is_right else None


def _bytes(password: str) -> bytes:
    """One spelling for characters that can be written in several ways."""
    return unicodedata.normalize("NFKC", password).encode()
