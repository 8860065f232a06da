"""The YAML writer, read back by a real YAML parser."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cli.yaml_text import yaml_of_json, yaml_text

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
        "name: flights\nleader: n1\nlist:\n- a: 1\n  b: x y\n"
    )


def test_numbers_keep_every_digit() -> None:
    """In a form that every version of YAML reads as a number; members given twice stay as well."""
    numbers = "1e400,0.1000000000000000055511151231257827,-0,1E5,-2.50e-3,{},[]"
    text = f'{{"a":[{numbers}],"b":1,"b":123456789012345678901}}'
    assert yaml_of_json(text) == (
        "a:\n- 1.0e+400\n- 0.1000000000000000055511151231257827\n- -0\n- 1.0e+5\n- -2.50e-3\n"
        "- {}\n- []\nb: 1\nb: 123456789012345678901\n"
    )
    assert yaml.safe_load(yaml_of_json('{"a":[1e5,1E5,1e-7,2]}')) == {"a": [1e5, 1e5, 1e-7, 2]}


def test_half_a_surrogate_pair_is_escaped() -> None:
    """There are no bytes for it."""
    assert yaml_of_json('["\\ud800"]') == '- "\\uD800"\n'


def test_what_is_not_json_is_refused() -> None:
    """Bytes have no place in a document."""
    with pytest.raises(TypeError, match="bytes"):
        yaml_text({"a": b"x"})
