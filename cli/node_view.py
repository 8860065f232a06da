"""The table of nodes."""

from __future__ import annotations

from typing import Final

from cli.output import Column, Item, View, field
from cli.record_document import time_text

_UNITS: Final = ("B", "KB", "MB", "GB", "TB", "PB")


def size_text(count: int | None) -> str | None:
    """A number of bytes as text, in the unit that leaves one to three digits before the point."""
    if count is None:
        return None
    size, unit = float(count), 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 99.95 else f"{size:.1f} {_UNITS[unit]}"


def _free(node: Item) -> str | None:
    free, total = node.get("disk_free_bytes"), node.get("disk_total_bytes")
    return f"{size_text(free)} ({100 * free // total}%)" if free is not None and total else None


def _state(node: Item) -> str | None:
    state = node.get("state")
    return f"{state}, draining" if state and node.get("draining") else state


def _last_seen(node: Item) -> object:
    """According to all nodes; a node that answers was seen now."""
    if node.get("alive"):
        return "now"
    last = node.get("last_seen_ms")
    return None if last is None else time_text(last)


NODES: Final = View(
    columns=(
        field("Node", "node_id"),
        Column("State", _state),
        field("Leads", right=True),
        field("Replicas", right=True),
        Column("Data", lambda node: size_text(node.get("data_bytes")), right=True),
        Column("Disk free", _free, right=True),
        Column("Last seen", _last_seen),
        field("Version"),
        Column("Rack", lambda node: node.get("rack") or None),
        field("HTTP", "http"),
        field("Number", right=True, wide=True),
        field("Peer", wide=True),
        field("Incarnation", wide=True),
        Column("Why not ready", lambda node: "; ".join(node.get("reasons", ())) or None, wide=True),
    ),
    name=lambda node: str(node["node_id"]),
    items=lambda document: document["nodes"],
)
