"""The times of a report: seconds since its run began."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Timescale:
    """Made from ``RunResult``; times are monotonic nanoseconds, except for the wall clock's."""

    began_ns: int
    ended_ns: int
    began_wall_ns: int

    @property
    def duration_s(self) -> float:
        """From the beginning to the end."""
        return self.seconds(self.ended_ns)

    @property
    def began(self) -> str:
        """The beginning as a date."""
        return datetime.fromtimestamp(self.began_wall_ns / 1e9, UTC).isoformat(timespec="seconds")

    def seconds(self, time_ns: int) -> float:
        """A monotonic time, to the tenth of a millisecond."""
        return round((time_ns - self.began_ns) / 1e9, 4)

    def from_wall(self, moment: datetime) -> int:
        """The monotonic time of a date in a log: right unless that clock was changed."""
        return int(moment.timestamp() * 1e9) - self.began_wall_ns + self.began_ns
