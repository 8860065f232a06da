"""The YAML writer, read back by a real YAML parser."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cli.yaml_text import yaml_text

_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
)
_DOCUMENTS = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=12
)


@given(_DOCUMENTS)
@example({"k" * 2000: {"a": [[], {}, [1, [2]]]}})
@example(["no", "Null", "1e5", "- x", "a: b", "\u2028", "\ufeff", "\x85", "\U0001f600", "2013-01-01", "="])
@example([1e22, 1e-7, 1e16, 0.1])
def test_what_is_written_reads_back_as_the_same_document(document: object) -> None:
    """Any JSON document survives the way to YAML and back."""
    assert yaml.safe_load(yaml_text(document)) == document


def test_plain_words_are_not_quoted() -> None:
    """The output stays readable: quotes appear only where YAML needs them."""
    assert yaml_text({"name": "flights", "leader": "n1", "list": [{"a": 1, "b": "x y"}]}) == (
        'name: flights\nleader: n1\nlist:\n  - a: 1\n    b: "x y"\n'
    )


def test_what_is_not_json_is_refused() -> None:
    """Bytes have no place in a document."""
    with pytest.raises(TypeError, match="bytes"):
        yaml_text({"a": b"x"})
