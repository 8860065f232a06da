"""A faulty filesystem in a folder, with the side that makes it fail."""

from __future__ import annotations

import os
import random
from pathlib import Path

from storage.faulty.conditions import Board, Conditions, DiskFault
from storage.faulty.filesystem import FaultyFileSystem
from storage.faulty.power_loss import lose_power
from storage.filesystem import write_all


class Disk:
    """Data in one folder, what makes it fail in another."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.data = str(tmp_path / "faults"), str(tmp_path / "data")
        self.board = Board(self.folder)
        self.fs = FaultyFileSystem(self.folder, Board(self.folder))
        self.fs.mkdir(f"{self.data}/sub")

    def put(self, name: str, content: bytes, *, sync: bool = True) -> str:
        """A file with this content."""
        path = f"{self.data}/{name}"
        file = self.fs.open(path, create=True)
        file.truncate(0)
        write_all(file, [content], 0)
        if sync:
            file.sync()
            self.fs.sync_folder(os.path.dirname(path))
        return path

    def fail(self, *faults: DiskFault) -> None:
        """Put these into force, and no others."""
        self.board.post(Conditions(disk=faults))

    def lose_power(self, rng: random.Random | None = None) -> None:
        """Lose it, and come back."""
        lose_power(self.folder, self.data, rng)
        self.fs = FaultyFileSystem(self.folder, Board(self.folder))

    def contents(self) -> dict[str, bytes]:
        """What there is."""
        return {
            str(path.relative_to(self.data)): path.read_bytes()
            for path in Path(self.data).rglob("*")
            if path.is_file()
        }
