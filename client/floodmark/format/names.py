"""Names of topics: what is allowed in a path, checked before anything is sent."""

from __future__ import annotations

import re
from typing import Final

from floodmark.errors import InvalidName
from floodmark.format.limits import NAME_LENGTH_MAX

_NAME: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{NAME_LENGTH_MAX}}}")


def check_name(name: str) -> str:
    """``name`` itself. Raises ``InvalidName``."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidName(
            f"{name[:50]!r} is not a valid name: use 1 to {NAME_LENGTH_MAX} of A-Z a-z 0-9 . _ -, and not "
            ". or .."
        )
    return name
