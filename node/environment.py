"""What a node takes from the machine that it runs on: disk and wall clock, chosen in one place."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from node import descriptors
from node.settings import Settings
from storage.faulty.conditions import Board
from storage.faulty.filesystem import FaultyFileSystem
from storage.filesystem import FileSystem, RealFileSystem

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Environment:
    """``wall_ms`` is milliseconds since 1970; it may jump, and safety never depends on it."""

    fs: FileSystem
    wall_ms: Callable[[], int]


def environment_of(settings: Settings) -> Environment:
    """The machine itself, or one that can be made to fail, for tests. Raises ``OSError``."""
    real = RealFileSystem(descriptors_max=descriptors.limit() - descriptors.KEPT)
    folder = settings.testing.faults
    if not folder:
        return Environment(real, true_wall_ms)
    _log.warning(
        "testing_faults_enabled",
        folder=folder,
        hint="another process may give this node a bad disk and a wrong clock: never for production",
    )
    board = Board(folder)
    return Environment(
        FaultyFileSystem(folder, board, real), lambda: true_wall_ms() + board.now.clock_offset_ms
    )


def true_wall_ms() -> int:
    """The machine's own clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000
