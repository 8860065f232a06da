"""report.html: a single file, with the report embedded as JSON, which its script draws.

Nothing of the report becomes markup: it is embedded as JSON without ``<``, ``>`` and ``&``, and the script
puts it on the page as text nodes only. As a second defence the page's policy runs no other script and loads
nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib import resources
from typing import Final

import msgspec

from chaos.report.document import Report

_SCRIPTS: Final = (
    "elements.js",
    "time_window.js",
    "lanes.js",
    "drawing.js",
    "pointer.js",
    "timeline.js",
    "sections.js",
    "start.js",
)
_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)\}\}")
_ESCAPES: Final = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"})


def make_page(report: Report) -> str:
    """The page of a report."""
    script = "(() => {\n'use strict';\n" + "\n".join(_part(name) for name in _SCRIPTS) + "})();\n"
    style = _part("style.css")
    policy = f"default-src 'none'; base-uri 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    parts = {
        "policy": policy,
        "title": html.escape(f"{report.scenario}: {report.verdict}"),
        "verdict": html.escape(report.verdict),
        "seed": str(report.seed),  # As text: a script's numbers end at 2^53.
        "style": style,
        "script": script,
        "report": msgspec.json.encode(report).decode().translate(_ESCAPES),
    }
    return _PLACEHOLDER.sub(lambda match: parts[match[1]], _part("page.html"))


def _part(name: str) -> str:
    return (resources.files("chaos.report") / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The hash of an inline text for a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
