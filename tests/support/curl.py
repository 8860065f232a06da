"""What the examples of the documents use of curl, for machines that have none."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from pathlib import Path

import aiohttp


def with_curl(folder: Path) -> dict[str, str]:
    """The environment to run curl in. Where the machine has none, this stand-in is put into ``folder``."""
    if shutil.which("curl"):
        return dict(os.environ)
    program = folder / "bin" / "curl"
    program.parent.mkdir()
    root = Path(__file__).resolve().parents[2]
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m tests.support.curl "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("url")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="form")
    parser.add_argument("--data-binary", dest="binary")
    parser.add_argument("-o", dest="output", type=Path)
    parser.add_argument("-D", dest="dump", choices=["-"], help="the answer's head, to stdout")
    parser.add_argument("-w", dest="write_out", default="")
    parser.add_argument("--max-time", type=float)
    for flag in ("-N", "-s", "-S", "-sS", "--fail"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


def _body(arguments: argparse.Namespace) -> bytes | None:
    if arguments.binary == "@-":
        return sys.stdin.buffer.read()
    text = arguments.form if arguments.binary is None else arguments.binary
    return None if text is None else str(text).encode()


async def _run(arguments: argparse.Namespace) -> int:
    body = _body(arguments)
    headers = {} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}
    headers |= dict(line.split(": ", 1) for line in arguments.headers)
    method = arguments.method or ("GET" if body is None else "POST")
    url = arguments.url if "://" in arguments.url else f"http://{arguments.url}"
    out = arguments.output.open("wb") if arguments.output else sys.stdout.buffer
    try:
        async with (
            asyncio.timeout(arguments.max_time),
            aiohttp.request(method, url, data=body, headers=headers) as answer,
        ):
            if arguments.dump:
                head = [
                    f"HTTP/1.1 {answer.status}",
                    *(f"{name}: {value}" for name, value in answer.headers.items()),
                ]
                sys.stdout.write("\r\n".join([*head, "", ""]))
                sys.stdout.flush()
            async for piece in answer.content.iter_any():
                out.write(piece)
                out.flush()
    except TimeoutError:
        sys.stderr.write(f"curl: (28) Operation timed out after {arguments.max_time} s\n")
        return 28
    sys.stdout.write(arguments.write_out.replace("%{http_code}", str(answer.status)).replace("\\n", "\n"))
    return 22 if arguments.fail and answer.status >= 400 else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_run(_arguments())))
