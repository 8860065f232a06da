"""Folders of the benchmarks."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools"
"""What benchmarks install for themselves; git ignores it."""
RESULTS = ROOT / "bench-results"
DOCUMENT = ROOT / "docs" / "PERFORMANCE.md"
IMAGES = ROOT / "docs" / "images"
