"""What always holds of a leader's view of its followers; the docstring of ``Progress`` says it in words."""

from __future__ import annotations

from consensus.core.replication import Position, Progress
from tests.simulation.violation import require


def look_at_progress(
    leader: str, follower: str, progress: Progress, *, base_index: int, last_index: int
) -> None:
    """Check one follower of a leader whose log has these ends."""
    inflight = [index for index, _ in progress.inflight]

    def seen() -> str:
        return (
            f"{leader} sees {follower} in {progress.position.value}, match {progress.match}, "
            f"next {progress.next}, inflight {list(progress.inflight)}, log {base_index} to {last_index}"
        )

    require(
        progress.match < progress.next <= last_index + 1,
        "a follower's next entry is behind what it has and no further than the log",
        seen,
    )
    require(
        progress.inflight_bytes == sum(size for _, size in progress.inflight),
        "bytes in flight are counted",
        seen,
    )
    require(
        all(a < b for a, b in zip([progress.match, *inflight], inflight, strict=False)),
        "what is in flight is in order, and not acknowledged",
        seen,
    )
    require(
        not inflight or inflight[-1] == progress.next - 1,
        "the next entry follows what is in flight",
        seen,
    )
    most = {Position.PROBE: 1, Position.SNAPSHOT: 0}.get(progress.position, len(inflight))
    require(len(inflight) <= most, "a position bounds what is in flight", seen)
    require(
        progress.position is not Position.SNAPSHOT or progress.next < base_index,
        "a snapshot is for those whose next entry the log has no more",
        seen,
    )
