"""A fuzz target, and its corpus: a text file with one input a line, in base64."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

CORPUS: Final = Path(__file__).parent / "corpus"
INPUT_BYTES_MAX: Final = 4096
MEMORY_BYTES_MAX: Final = 64 << 20
"""What one input may make a target hold at once: each is small, and so is what its announcements may cost."""


class Target(NamedTuple):
    """``run`` raises for an input after which something does not hold."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    """Sound inputs to begin with."""


def corpus_of(name: str) -> list[bytes]:
    """The kept inputs of a target."""
    file = CORPUS / f"{name}.txt"
    return [base64.b64decode(line) for line in file.read_text().split()] if file.exists() else []


def keep(name: str, inputs: Iterable[bytes]) -> int:
    """Replace a target's corpus; how many inputs it has now."""
    lines = sorted({base64.b64encode(data).decode() for data in inputs}, key=lambda line: (len(line), line))
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return len(lines)


def unpacked_into(folder: Path, inputs: Iterable[bytes]) -> None:
    """Each input as a file, as the fuzzer wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def parts(data: bytes, count: int) -> list[bytes]:
    """``data`` in so many parts, as ``joined`` makes it: all but the last after a length of two bytes."""
    found = []
    for _ in range(count - 1):
        length = int.from_bytes(data[:2], "little")
        found.append(data[2 : 2 + length])
        data = data[2 + length :]
    return [*found, data]


def joined(*pieces: bytes) -> bytes:
    """The input of a target that takes it in parts."""
    return b"".join([len(piece).to_bytes(2, "little") + piece for piece in pieces[:-1]]) + pieces[-1]
