"""What docs/PERFORMANCE.md has from here, between marks: what is compared, and the figures of a run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.peers.tools import ROOT
from bench.peers.variant import Variant

DOCUMENT = ROOT / "docs" / "PERFORMANCE.md"
_PICTURE = ROOT / "docs" / "images" / "peers.png"


def compared(variants: Sequence[Variant]) -> str:
    """A list entry for each variant: its promise, its settings, its client."""
    return "\n".join(
        f"- **{each.label}** (`{each.name}`). Acknowledged means: {each.acknowledged}. "
        f"Set: {each.configuration}. Client: {each.client}."
        for each in variants
    )


def replace_part(text: str, name: str, content: str) -> str:
    """The text with other content between the marks of this name; ``ValueError`` when they are not there."""
    begin, end = f"<!-- {name}: written by the benchmark -->\n", f"\n<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the document has no marks for {name!r}")
    return f"{before}{begin}{content.strip()}{end}{after}"


def update(variants: Sequence[Variant], table: str, picture: Path) -> None:
    """Put the figures of a run into the document, and its plot beside it."""
    text = replace_part(DOCUMENT.read_text(), "compared", compared(variants))
    DOCUMENT.write_text(replace_part(text, "figures", table))
    if picture.exists():
        shutil.copyfile(picture, _PICTURE)
