"""What docs/PERFORMANCE.md has from here, between marks: what is compared, and the figures of a run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.document import write_parts
from bench.paths import IMAGES
from bench.peers.variant import Variant

_PICTURE = IMAGES / "peers.png"


def compared(variants: Sequence[Variant]) -> str:
    """A list entry for each variant: its promise, its settings, its client."""
    return "\n".join(
        f"- **{each.label}** (`{each.name}`). Acknowledged means: {each.acknowledged}. "
        f"Set: {each.configuration}. Client: {each.client}."
        for each in variants
    )


def update(variants: Sequence[Variant], table: str, picture: Path) -> None:
    """Put the figures of a run into the document, and its plot beside it."""
    write_parts({"compared": compared(variants), "figures": table})
    if picture.exists():
        shutil.copyfile(picture, _PICTURE)
