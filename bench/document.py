"""Parts of docs/PERFORMANCE.md that benchmarks write, between marks."""

from __future__ import annotations

from collections.abc import Mapping

from bench.paths import DOCUMENT


def replace_part(text: str, name: str, content: str) -> str:
    """The text with other content between the marks of this name; ``ValueError`` when they are not there."""
    begin, end = f"<!-- {name}: written by the benchmark -->\n", f"\n<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the document has no marks for {name!r}")
    return f"{before}{begin}{content.strip()}{end}{after}"


def write_parts(parts: Mapping[str, str]) -> None:
    """Put them into the document: the name of the marks -> what stands between them."""
    text = DOCUMENT.read_text()
    for name, content in parts.items():
        text = replace_part(text, name, content)
    DOCUMENT.write_text(text)
