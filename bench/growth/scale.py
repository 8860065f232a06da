"""How far the axes go, and how long each measurement takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Places on the axes, times in seconds."""

    seconds: float
    """Of each measurement under load."""
    idle_s: float
    """How long nodes that have nothing to do are looked at."""
    quiet_s_max: float
    """How long to wait at most until they have nothing to do."""
    rounds: int
    minutes_max: float
    partitions: tuple[int, ...]
    record_bytes: tuple[int, ...]
    batch_records: tuple[int, ...]
    connections: tuple[int, ...]
    replication: tuple[int, ...]
    nodes: tuple[int, ...]
    metadata_nodes: tuple[int, ...]
    log_gigabytes: tuple[float, ...]
    fill_s_max: float
    """How long the log may be written at full speed, in all."""


FULL = Scale(
    seconds=1.5,
    idle_s=4.0,
    quiet_s_max=25.0,
    rounds=3,
    minutes_max=20.0,
    partitions=(1, 3, 10, 30, 100, 300, 1000),
    record_bytes=(16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20),
    batch_records=(1, 4, 16, 64, 256, 1024, 4096),
    connections=(1, 4, 16, 64, 256, 1000),
    replication=(1, 3, 5),
    nodes=(3, 5, 7),
    metadata_nodes=(3, 10, 30, 100),
    log_gigabytes=(0, 1, 5, 10, 20),
    fill_s_max=300.0,
)
QUICK = Scale(
    seconds=0.6,
    idle_s=1.0,
    quiet_s_max=5.0,
    rounds=1,
    minutes_max=4.0,
    partitions=(1, 10, 100),
    record_bytes=(16, 1 << 10, 64 << 10, 1 << 20),
    batch_records=(1, 16, 256, 4096),
    connections=(1, 16, 256),
    replication=(1, 3),
    nodes=(3, 5),
    metadata_nodes=(3, 10, 100),
    log_gigabytes=(0, 0.5, 1),
    fill_s_max=30.0,
)
