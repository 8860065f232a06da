"""The sizes that one log keeps to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Sizes in bytes, counts in files. The defaults suit a partition of a node with hundreds of them."""

    segment_bytes: int = 128 << 20
    """A segment that would grow past this is sealed and a new one begun; one larger frame still fits."""
    index_interval_bytes: int = 32 << 10
    """Distance of two entries of the sparse index: what a read by offset may have to walk over."""
    tail_bytes_max: int = 32 << 20
    """Recent frames kept in memory. Frames that are not written yet are kept even above this."""
    open_files_max: int = 8
    """Sealed segments whose files are kept open."""
    loaded_indexes_max: int = 8
    """Sealed segments whose sparse index is kept in memory."""
    zeros_ahead_bytes: int = 128 << 10
    """Zeros written ahead of a log that grows by little (see zeros_ahead.py); 0 for none."""
    quarantine_files_max: int = 8
    """Files of damaged bytes that repairs keep for inspection; the oldest go first."""

    def __post_init__(self) -> None:
        if self.segment_bytes < 1024 or self.index_interval_bytes < 64:
            raise ValueError("segment_bytes is at least 1024 and index_interval_bytes at least 64")
        if min(self.open_files_max, self.loaded_indexes_max, self.quarantine_files_max) < 1:
            raise ValueError("open_files_max, loaded_indexes_max and quarantine_files_max are at least 1")
        for name in ("tail_bytes_max", "zeros_ahead_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is not negative")
