"""Rules for the limits, alone and between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from floodmark.format.limits import BATCH_BYTES_MAX

from node.settings import LimitSettings

NOT_ABOVE: Final = (
    ("produce_timeout_s", "produce_timeout_s_max", "the default is itself a timeout that can be asked for"),
    ("fetch_bytes", "fetch_bytes_max", "the default is itself a size that can be asked for"),
    ("fetch_records", "fetch_records_max", "the default is itself a count that can be asked for"),
    ("fetch_bytes_max", "responses_bytes_max", "one answer must fit"),
    ("stream_bytes", "responses_bytes_max", "one page must fit"),
    ("body_bytes_max", "inflight_node_bytes", "one body must fit"),
    ("sweep_s", "header_timeout_s", "connections are looked at that often only"),
    ("sweep_s", "body_window_s", "connections are looked at that often only"),
    ("sweep_s", "write_stall_s", "connections are looked at that often only"),
)
"""(low, high, why): ``low`` must be at most ``high``."""
ADDRESS_RATES: Final = {
    "address_produce_bytes_per_s": 1024,
    "address_fetch_bytes_per_s": 1024,
    "address_requests_per_s": 1,
}
"""Each with the least that it may be, if it is not 0."""
MAY_BE_ZERO: Final = frozenset({"partitions_per_node_max", "catch_up_bytes_per_s", *ADDRESS_RATES})
"""Where 0 means a derived value, or no limit."""
CATCH_UP_MIN: Final = 64 << 10


def problems(limits: LimitSettings) -> Iterator[str]:
    """One line per problem, naming the field."""
    for name in limits.__struct_fields__:
        value = getattr(limits, name)
        if name in MAY_BE_ZERO and value == 0:
            continue
        if not 0 < value < math.inf:
            yield f"limits.{name} = {value}: it must be a number above 0"
    for low, high, why in NOT_ABOVE:
        if getattr(limits, low) > getattr(limits, high):
            yield f"limits.{low} must be at most limits.{high} ({getattr(limits, high)}): {why}"
    for name, least in ADDRESS_RATES.items():
        if 0 < getattr(limits, name) < least:
            yield f"limits.{name} = {getattr(limits, name)}: use at least {least}, or 0 for no limit"
    if 0 < limits.catch_up_bytes_per_s < CATCH_UP_MIN:
        yield (
            f"limits.catch_up_bytes_per_s = {limits.catch_up_bytes_per_s}: use at least {CATCH_UP_MIN}, or "
            "replicas never catch up; 0 is no limit"
        )
    if limits.inflight_partition_bytes < BATCH_BYTES_MAX:
        yield (
            f"limits.inflight_partition_bytes: one record batch has up to {BATCH_BYTES_MAX} bytes; "
            "use at least that"
        )
