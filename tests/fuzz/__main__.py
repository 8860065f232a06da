"""``make fuzz``: each target for some seconds, coverage-guided; what reaches new code stays in the corpus.

An input after which something does not hold is printed, put into the corpus (so that `make test` fails until
it is mended), and ends the run with status 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.fuzz.minimize import minimized
from tests.fuzz.target import INPUT_BYTES_MAX, corpus_of, keep, unpacked_into
from tests.fuzz.targets import ALL

_ROOT: Final = Path(__file__).parents[2]
_INPUT_SECONDS_MAX: Final = 10
_RSS_MB_MAX: Final = 2048
KEPT_BYTES_MAX: Final = 1024
"""Of a kept input: the corpus lies in the repository."""


def main() -> int:
    """The process's exit status."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append", choices=sorted(ALL), help="only these; all by default")
    args = parser.parse_args()
    failed = []
    for name in args.target or ALL:
        print(f"{name}: {args.seconds} s ...", flush=True)
        found = _fuzz(name, args.seconds)
        if found:
            failed.append(name)
    if failed:
        print(f"something does not hold: {', '.join(failed)}")
    return 1 if failed else 0


def _fuzz(name: str, seconds: int) -> list[bytes]:
    """Run one target, and put what it found into the corpus; the inputs that broke something."""
    seeds = list(ALL[name].seeds())
    longest = max(INPUT_BYTES_MAX, *map(len, seeds))
    with tempfile.TemporaryDirectory(prefix="floodmark-fuzz-") as folder:
        grown, broken = Path(folder) / "grown", Path(folder) / "broken"
        broken.mkdir()
        unpacked_into(grown, [*seeds, *corpus_of(name)])
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={longest}",
            f"-timeout={_INPUT_SECONDS_MAX}",
            f"-rss_limit_mb={_RSS_MB_MAX}",
            f"-artifact_prefix={broken}/",
        ]
        _run(name, [str(grown), *options])
        found = [file.read_bytes() for file in sorted(broken.iterdir())]
        inputs = [file.read_bytes() for file in grown.iterdir()]
    kept = minimized(ALL[name], [data for data in inputs if len(data) <= KEPT_BYTES_MAX])
    count = keep(name, [*kept, *found])
    print(f"  {count} inputs kept of {len(inputs)}, {len(found)} broke something", flush=True)
    return found


def _run(name: str, options: list[str]) -> None:
    command = [sys.executable, "-m", "tests.fuzz.one", name, *options]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, errors="replace", check=False)
    lines = done.stderr.splitlines()
    print("\n".join([f"  {line}" for line in lines if "DONE" in line]))
    if done.returncode:
        told = [line for line in lines if not line.startswith(("#", "INFO:"))]
        print("\n".join([*done.stdout.splitlines()[-40:], *told[-8:]]))


if __name__ == "__main__":
    sys.exit(main())
