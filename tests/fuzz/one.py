"""One target in a process of its own: ``python -m tests.fuzz.one NAME``, then libFuzzer's options.

The fuzzer ends its process, at the first input after which something does not hold or when its time is up.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["floodmark", "consensus", "node", "storage"]):
    from tests.fuzz.targets import ALL


def main() -> None:
    """Never returns."""
    run = ALL[sys.argv[1]].run
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: run(bytes(data)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
