"""The record of a run in its folder, so that the run can be judged again.

RUN/scenario.toml   the scenario as it was run, with its seed
RUN/history.jsonl   what clients and the cluster did
RUN/run.json        this record
RUN/cluster/        settings, logs and data of the nodes
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

SCENARIO_FILE: Final = "scenario.toml"
HISTORY_FILE: Final = "history.jsonl"
RECORD_FILE: Final = "run.json"
CLUSTER_FOLDER: Final = "cluster"


class ReplicasOf(msgspec.Struct, frozen=True):
    """The nodes that should hold a partition at the end."""

    topic: str
    partition: int
    nodes: list[str]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """See ``chaos.verdict.RunResult`` for the members. ``nodes`` are those that are there in the end,
    ``gone`` those that were removed."""

    seed: int
    nodes: list[str]
    replicas: list[ReplicasOf]
    deaths: dict[str, int]
    unready: dict[str, str]
    began_ns: int
    healed_ns: int
    ended_ns: int
    began_wall_ns: int
    notes: list[str]
    gone: list[str] = []


def write_record(folder: Path, record: RunRecord) -> None:
    """Put it into a run's folder."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=2)
    (folder / RECORD_FILE).write_bytes(text + b"\n")


def read_record(folder: Path) -> RunRecord:
    """Read it. Raises ``OSError``, and ``msgspec.DecodeError`` if it is not a record."""
    return msgspec.json.decode((folder / RECORD_FILE).read_bytes(), type=RunRecord)
