"""Makes text from elsewhere safe for a terminal: control characters are shown, not obeyed.

Escape sequences can move the cursor, change the title, or put words into the keyboard's buffer. Output to a
pipe or a file is not changed.
"""

from __future__ import annotations

import sys
from typing import Any


def is_terminal(stream: Any) -> bool:
    """Whether the stream is a terminal."""
    return bool(stream is not None and stream.isatty())


def visible(text: str, *, keep: str = "") -> str:
    r"""The text with ``\x1b`` for what is not printable, except the characters in ``keep``."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else repr(each)[1:-1] for each in text)


def visible_bytes(data: bytes) -> bytes:
    """Bytes of a record: line breaks and tabs stay, bytes that are not UTF-8 are shown as ``\\xff``."""
    return visible(data.decode(errors="backslashreplace"), keep="\n\t").encode()


def visible_json(text: str) -> str:
    """A JSON or YAML text of the same meaning, in which unprintable characters are escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _escaped(each) for each in text)


def for_stdout(data: bytes) -> bytes:
    """Bytes of a record ready to print: unchanged, except on a terminal."""
    return visible_bytes(data) if is_terminal(sys.stdout) else data


def _escaped(character: str) -> str:
    point = ord(character)
    if point < 0x10000:
        return f"\\u{point:04x}"
    point -= 0x10000
    return f"\\u{0xD800 + (point >> 10):04x}\\u{0xDC00 + (point & 0x3FF):04x}"
