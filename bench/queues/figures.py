"""The figures of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement in one round."""

    variant: str
    work: str
    """``1x16`` (records a turn, workers), ``programx16`` (in hand at once), or a step of the delayed ones."""
    way: str
    by_key: bool
    round: int
    value: float
    """Records a second, but for ``memory`` (MB of all nodes) and ``late`` (ms after the time)."""
    p50_ms: float | None = None
    p99_ms: float | None = None


def line(figure: Figure) -> str:
    """As it is told when it is there."""
    unit = {"memory": "MB", "late": "ms late"}.get(figure.work, "records/s")
    latency = (
        f"  p50 {figure.p50_ms:.2f} ms  p99 {figure.p99_ms:.2f} ms" if figure.p50_ms and figure.p99_ms else ""
    )
    order = "by key" if figure.by_key else ""
    return (
        f"round {figure.round + 1}  {figure.variant:<13} {figure.work:<7} {figure.way:<9} {order:<7}"
        f"{figure.value:>11,.0f} {unit}{latency}"
    )
