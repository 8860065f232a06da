"""Older builds, made from the repository's history by ``scripts/older``."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

FIRST: Final = "5811cd61a6e7e54b1831f6a1b3c9a53167727607"
"""The first build that agrees on versions with its peers: all later ones work beside it."""
BEFORE: Final = "df96b108c7cd1d764a4679f7d02e8b0883474963"
"""The last build that does not."""
_ROOT: Final = Path(__file__).parents[2]
_NO_SUCH_COMMIT: Final = 3


def code_of(revision: str) -> Path:
    """The folder with the packages of a build. Skips where the history here lacks it."""
    made = subprocess.run(
        ["scripts/older", revision], cwd=_ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    if made.returncode == _NO_SUCH_COMMIT:
        pytest.skip(made.stderr.strip())
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())
