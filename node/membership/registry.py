"""Which replicas and peers this node has had and met: a file that tells data loss from a fresh start.

A replica's folder that is missing although the registry says that it was created has been lost, and with it
votes and entries: the replica then starts without a vote. Likewise a peer that shows up under another
incarnation than the one it was first met under has lost its disk, and is told so; and one whose folder has
been started more often than the folder itself knows, or has been replaced since, is an old copy.

``registry.log`` has one line per change: the CRC32C of the rest as eight hex digits, a space, a JSON object,
a line feed; the first one names the format. A torn last line is cut; any other damaged line stops the node,
since the file exists to forget nothing. A line with the right checksum and a change unknown to this build
was written by a newer one: the node does not start, and the file stays as it is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import google_crc32c

from node.membership.identity import IdentityProblem
from storage.atomic_file import read_file, replace_file
from storage.filesystem import File, FileSystem, write_all

FILE_NAME = "registry.log"
FORMAT_VERSION = 1
LINES_BEFORE_REWRITE = 1_024


class Boot(NamedTuple):
    """One start of a peer: the highest number of its folder since, and a random name of the process."""

    number: int
    process: str


class _TooNew(Exception):
    """An intact line of a newer build."""


class Registry:
    """``groups`` have a replica here. ``peers``: id -> the incarnation first met.

    ``boots``: id -> incarnation -> the last start that was met, in the order in which the folders were met.

    Every change is durable on return. Any thread may make one.
    """

    def __init__(self, fs: FileSystem, data_dir: str) -> None:
        self.groups: set[int] = set()
        self.peers: dict[str, str] = {}
        self.boots: dict[str, dict[str, Boot]] = {}
        self._lock = threading.RLock()
        self._fs = fs
        self._folder = data_dir
        path = f"{data_dir}/{FILE_NAME}"
        try:
            raw = read_file(fs, path) or b""
            self._lines, self._end = self._read(raw, path)
            self._lines_max = LINES_BEFORE_REWRITE
            if self._lines > self._lines_max or not raw:
                self._file = self._rewritten()
            else:
                self._file = fs.open(path)
                self._file.truncate(self._end)
        except OSError as error:
            raise IdentityProblem(f"{path} cannot be used: {error}") from error

    def created(self, groups: Iterable[int]) -> None:
        """Replicas of these groups are on disk; to be called before they take part in anything."""
        self._append({"created": sorted(groups)})

    def removed(self, groups: Iterable[int]) -> None:
        """These groups' replicas are no longer wanted."""
        self._append({"removed": sorted(groups)})

    def met(self, peer: str, incarnation: str) -> None:
        """A peer was met; only the first incarnation counts."""
        if peer not in self.peers:
            self._append({"met": [peer, incarnation]})

    def newer_than(self, peer: str, incarnation: str, boot: Boot) -> Boot | None:
        """An earlier met start of this peer that proves that its present folder is an old copy, if any."""
        met = self.boots.get(peer, {})
        known = met.get(incarnation)
        if known is None:
            return None
        if incarnation != next(reversed(met)):
            return next(reversed(met.values()))
        return known if boot.process != known.process and boot.number <= known.number else None

    def met_boot(self, peer: str, incarnation: str, boot: Boot) -> None:
        """A peer was met in this start of its folder."""
        known = self.boots.get(peer, {}).get(incarnation)
        # Announcements on two connections of one process may arrive out of order.
        if known is None or boot.process != known.process or boot.number > known.number:
            self._append({"boot": [peer, incarnation, *boot]})

    def risen(self, numbers: Mapping[tuple[str, str], int]) -> None:
        """Boot numbers of running peers, by id and incarnation; only higher ones than known count."""
        with self._lock:
            for (peer, incarnation), number in numbers.items():
                known = self.boots.get(peer, {}).get(incarnation)
                if known is not None and number > known.number:
                    self._append({"boot": [peer, incarnation, number, known.process]})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _apply(self, change: dict[str, Any]) -> None:
        for name, value in change.items():
            match name:
                case "created":
                    self.groups.update(value)
                case "removed":
                    self.groups.difference_update(value)
                case "met":
                    self.peers.setdefault(value[0], value[1])
                case "boot":
                    self.boots.setdefault(value[0], {})[value[1]] = Boot(value[2], value[3])
                case "format" if value == FORMAT_VERSION:
                    pass
                case "format":
                    raise _TooNew(f"has format {value}, this build knows {FORMAT_VERSION}")
                case _:
                    raise _TooNew(f"has a change {name!r}, which this build does not know")

    def _read(self, raw: bytes, path: str) -> tuple[int, int]:
        """Apply all intact lines; returns their number and their size in bytes."""
        count, position = 0, 0
        while position < len(raw):
            end = raw.find(b"\n", position)
            if end < 0:
                break
            try:
                self._apply(_parse(raw[position:end]))
            except _TooNew as error:
                raise IdentityProblem(f"{path} {error} (byte {position}): start a newer Floodmark") from None
            except ValueError as error:
                if end == len(raw) - 1:
                    break
                raise IdentityProblem(
                    f"{path} is damaged at byte {position} ({error}), and this node cannot tell whether it "
                    "lost data. Move the whole data folder away; the node then fetches it all from its peers"
                ) from error
            count += 1
            position = end + 1
        return count, position

    def _append(self, change: dict[str, Any]) -> None:
        line = _line(change)
        with self._lock:
            try:
                if self._lines >= self._lines_max:
                    # Once this has begun, never write to the old file: it may already be replaced.
                    shorter = self._rewritten()
                    self._file.close()
                    self._file = shorter
                write_all(self._file, [line], self._end)
                self._file.sync()
            except OSError as error:
                raise IdentityProblem(f"{self._folder}/{FILE_NAME} cannot be written: {error}") from error
            self._end += len(line)
            self._lines += 1
            self._apply(change)

    def _rewritten(self) -> File:
        """Replace the lines with as few as say the same."""
        lines = [_line({"format": FORMAT_VERSION}), _line({"created": sorted(self.groups)})]
        lines += [_line({"met": [peer, incarnation]}) for peer, incarnation in sorted(self.peers.items())]
        lines += [
            _line({"boot": [peer, incarnation, *boot]})
            for peer, met in sorted(self.boots.items())
            for incarnation, boot in met.items()
        ]
        content = b"".join(lines)
        replace_file(self._fs, self._folder, FILE_NAME, content, durable=True)
        file = self._fs.open(f"{self._folder}/{FILE_NAME}")
        self._lines, self._end = len(lines), len(content)
        self._lines_max = max(LINES_BEFORE_REWRITE, 2 * len(lines))
        return file


def _line(change: dict[str, Any]) -> bytes:
    text = json.dumps(change, separators=(",", ":")).encode()
    return b"%08x %s\n" % (google_crc32c.value(text), text)


def _parse(line: bytes) -> dict[str, Any]:
    if int(line[:8], 16) != google_crc32c.value(line[9:]):
        raise ValueError("a line fails its checksum")
    change: dict[str, Any] = json.loads(line[9:])
    return change
