"""Prints records as they arrive, in the formats of ``cli.output``, without holding the whole document."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import msgspec

from cli.output import Column, Item, cell_text, json_line, on_stdout, yaml_writer
from cli.visible import visible

_WIDTHS = {True: 12, False: 24}


class StreamPrinter:
    """Prints ``{"records": [...]}`` one record at a time; as a context manager it begins and ends it.

    Tables have fixed widths, because later records are not known; a longer cell shifts the rest of its line.
    """

    def __init__(self, output: str, columns: Sequence[Column], name: Callable[[Item], str]) -> None:
        self._output = output
        self._columns = [column for column in columns if output == "wide" or not column.wide]
        self._name = name
        self._count = 0

    def __enter__(self) -> StreamPrinter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, BrokenPipeError):
            return
        if self._count:
            self._write("\n]}\n" if self._output == "json" else "")
        elif error is None:
            self._write(
                {"json": '{"records": []}\n', "yaml": "records: []\n"}.get(self._output, self._header())
            )
        self.flush()

    def write(self, item: Item) -> None:
        """Print one record."""
        if not self._count:
            self._write(self._header())
        self._write(self._text(item))
        self._count += 1

    def flush(self) -> None:
        """Flush what was printed so far."""
        sys.stdout.flush()

    def _header(self) -> str:
        if self._output in ("table", "wide"):
            return self._row([column.title.upper() for column in self._columns])
        return ""

    def _text(self, item: Item) -> str:
        match self._output:
            case "json":
                before = ",\n  " if self._count else '{"records": [\n  '
                return before + on_stdout(json_line(item))
            case "jsonl":
                return on_stdout(json_line(item)) + "\n"
            case "yaml":
                lines = _yaml(item).split("\n")[:-1]
                return ("" if self._count else "records:\n") + "".join(f"  {line}\n" for line in lines)
            case "name":
                return self._name(item) + "\n"
            case _:
                return self._row([visible(cell_text(column.cell(item))) for column in self._columns])

    def _row(self, cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(_WIDTHS[True]) if column.right else cell.ljust(_WIDTHS[False])
            for column, cell in zip(self._columns, cells, strict=True)
        ]
        return "  ".join(padded).rstrip() + "\n"

    def _write(self, text: str) -> None:
        sys.stdout.write(text)


def _yaml(item: Item) -> str:
    try:
        text: str = yaml_writer().yaml_of_json(f"[{json_line(item)}]")
    except RecursionError:  # nodes refuse such a value, but do not look into batches made by clients
        text = yaml_writer().yaml_text([{name: _as_text(member) for name, member in item.items()}])
    return text


def _as_text(member: Any) -> Any:
    return bytes(member).decode() if isinstance(member, msgspec.Raw) else member
