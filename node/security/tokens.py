"""Tokens, as users hold them: ``fmk_<id>_<secret>``.

The id is looked up, and says nothing; of the secret the cluster keeps a digest alone. It is 256 random bits,
so nobody finds it by trying, and a plain digest of it is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from typing import Final, NamedTuple

_LETTERS: Final = string.digits + string.ascii_letters
_ID_LETTERS: Final = 12
_SECRET_BYTES: Final = 32
_FORM: Final = re.compile(r"fmk_([0-9A-Za-z]{12})_([0-9A-Za-z_-]{43})", re.ASCII)
LAST_CHARACTERS: Final = 4


class Token(NamedTuple):
    """One, with its secret: shown once to who is to have it, and kept by nobody else."""

    token_id: str
    secret: str

    @property
    def text(self) -> str:
        """As it is sent."""
        return f"fmk_{self.token_id}_{self.secret}"

    @property
    def digest(self) -> bytes:
        """What the cluster keeps of the secret."""
        return hashlib.sha256(self.secret.encode()).digest()

    def is_of(self, digest: bytes) -> bool:
        """Whether the secret is the one of ``digest``; it takes as long whether it is or not."""
        return hmac.compare_digest(self.digest, digest)


def new_token() -> Token:
    """Another one than all others."""
    token_id = "".join(secrets.choice(_LETTERS) for _ in range(_ID_LETTERS))
    return Token(token_id, secrets.token_urlsafe(_SECRET_BYTES))


def parsed(text: str) -> Token | None:
    """None for what is no token of this form."""
    found = _FORM.fullmatch(text)
    return None if found is None else Token(found[1], found[2])
