"""Where a read begins: ``42``, ``earliest``, ``latest``, ``-10`` or ``@2026-01-31T10:00Z``."""

from __future__ import annotations

import re
from typing import Final

from floodmark.errors import InvalidRequest

from node.broker import Partition
from node.service import timestamps

_OFFSET_MAX: Final = (1 << 63) - 1
_BACK = re.compile(r"-[0-9]{1,19}", re.ASCII)
_OFFSET = re.compile(r"[0-9]{1,20}", re.ASCII)


def check(spec: str) -> str:
    """``spec`` itself, if it has one of the forms. Raises ``InvalidRequest``."""
    if spec in ("earliest", "latest") or _BACK.fullmatch(spec):
        return spec
    if _OFFSET.fullmatch(spec) and int(spec) <= _OFFSET_MAX:
        return spec
    if spec.startswith("@"):
        return f"@{timestamps.of_query(spec[1:])}"
    raise InvalidRequest(
        "from is an offset, earliest, latest, -N (the last N), or @time "
        f"(@2026-01-31T10:00Z or @milliseconds), not {spec[:100]!r}"
    )


def is_offset(spec: str) -> bool:
    """Whether the position always denotes the same offset."""
    return spec[0].isdigit()


async def resolve(spec: str, partition: Partition) -> int:
    """The offset that ``spec`` (checked) denotes now; call it where the partition is led."""
    if is_offset(spec):
        return int(spec)
    if spec[0] == "@":
        return await partition.offset_at_time(int(spec[1:]))
    bounds = partition.bounds()
    if spec == "earliest":
        return bounds.log_start_offset
    back = 0 if spec == "latest" else int(spec)
    return max(bounds.log_start_offset, bounds.high_watermark + back)
