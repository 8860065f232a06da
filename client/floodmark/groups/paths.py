"""Where a group is: its name may be any text, which is escaped in a path."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from floodmark.errors import InvalidName

_NAME_BYTES_MAX: Final = 255


def group_path(group: str, below: str = "") -> str:
    """``below`` a group. Raises ``InvalidName`` for what names none."""
    try:
        size = len(group.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= _NAME_BYTES_MAX:
        raise InvalidName(f"a group's name has 1 to {_NAME_BYTES_MAX} bytes in UTF-8, not {group[:50]!r}")
    return f"/v1/groups/{quote(group, safe='')}{below}"
