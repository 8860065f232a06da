"""Patterns for topics: they mean what they mean elsewhere, cost a bounded number of steps, or are refused."""

from __future__ import annotations

import re
import warnings

import pytest
from floodmark.errors import InvalidRequest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from node.coordinator.groups.patterns import Pattern, compiled, prefix_of, select

ATOMS = st.sampled_from(["a", "b", "1", "-", ".", r"\.", r"\d", r"\w", "[ab]", "[^a]", "[a-c1-]", r"[\d.]"])


def _expected(text: str, name: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Of set operations that Python may have one day.
        return re.fullmatch(text, name, re.ASCII) is not None


def _pattern(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from("*+?")).map(lambda two: f"(?:{two[0]}){two[1]}"),
    )


@given(
    text=st.recursive(ATOMS, _pattern, max_leaves=9),
    names=st.lists(st.text("ab1-._", max_size=12), max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_what_is_taken_means_what_it_means_in_re(text: str, names: list[str]) -> None:
    """Whole names, as Python's re decides, with anchors and without."""
    assume(len(text) < 120)
    pattern = Pattern(text)
    anchored = Pattern(f"^{text}$")
    for name in names:
        expected = _expected(text, name)
        assert pattern.matches(name) is expected, (text, name)
        assert anchored.matches(name) is expected, (text, name)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("^$", "empty"),
        ("a{2,5}", "write it out"),
        ("a*?", "lazy"),
        ("a++", "possessive"),
        ("(?=a)", "only"),
        ("(?P<x>a)", "only"),
        (r"(a)\1", "not supported"),
        (r"\bx", "not supported"),
        ("*", "nothing to repeat"),
        ("a|*", "nothing to repeat"),
        ("(a", "without a )"),
        ("a)", "without a ("),
        ("[a", "without a ]"),
        ("[z-a]", "later one"),
        ("[[a]", "within"),
        ("a]", "needs a"),
        ("a\\", "single"),
        ("a^b", "beginning"),
        ("a$b", "end only"),
        ("(" * 17 + "a" + ")" * 17, "nested"),
        ("a" * 129, "up to 128"),
    ],
)
def test_what_is_refused_says_why(text: str, why: str) -> None:
    """What cannot be matched in linear time, what is not RE2's, and what is broken."""
    with pytest.raises(InvalidRequest, match=re.escape(why)):
        Pattern(text)


@given(text=st.text("ab[]()|*+?^$\\-.{}:d=", max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_text_is_taken_or_refused(text: str) -> None:
    """With no other error; what is taken is a pattern for Python too, with the same meaning."""
    try:
        pattern = Pattern(text)
    except InvalidRequest:
        return
    for name in ("", "a", "ab", "a-b", "bbb", "d"):
        assert pattern.matches(name) is _expected(text, name), (text, name)


@pytest.mark.parametrize(
    "text", ["(a*)*b", "(a|a)*b", "(a+)+b", "(.*)(.*)(.*)(.*)(.*)b", "(a|b)*a" + "(a|b)" * 15]
)
def test_nothing_is_catastrophic(text: str) -> None:
    """At most one step for each character of a name, and no more of them remembered than a fixed number."""
    pattern = Pattern(text)
    steps = 0
    inner = pattern._step

    def counted(at: int, character: str) -> int:
        nonlocal steps
        steps += 1
        return inner(at, character)

    pattern._step = counted  # type: ignore[method-assign]
    names = [
        "a" * 249,
        "ab" * 124,
        *(f"{number:018b}".replace("0", "a").replace("1", "b") * 5 for number in range(200)),
    ]
    for name in names:
        before = steps
        pattern.matches(name)
        assert steps - before <= len(name)
    assert len(pattern._remembered) <= 4_096


def test_names_are_selected() -> None:
    """Of all topics those that a pattern describes."""
    names = ["orders", "orders-eu", "orders-us", "order", "payments"]
    assert list(select("orders(-.*)?", names)) == ["orders", "orders-eu", "orders-us"]


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("orders", "orders"),
        (r"^team\.orders-.*$", "team.orders-"),
        (r"team\.(a|b)", "team."),
        (r"team\.(ab|ac)", "team.a"),
        ("ab+c", "ab"),
        ("ab?c", "a"),
        ("(ab)+c", "ab"),
        ("a|ab", "a"),
        ("(ab)?", ""),
        ("ab|cd", ""),
        (".*", ""),
        ("[a]b", "ab"),
        (r"x(\.|~)y", "x.y"),
    ],
)
def test_what_all_names_begin_with(text: str, prefix: str) -> None:
    """As far as it is certain; a name that it describes never begins otherwise."""
    assert prefix_of(text) == prefix


@given(text=st.text("ab.|()*+?[]", max_size=12), name=st.text("ab.", min_size=1, max_size=6))
def test_no_name_that_is_described_begins_otherwise(text: str, name: str) -> None:
    """Whatever the pattern is."""
    try:
        pattern = compiled(text)
    except InvalidRequest:
        return
    assert not pattern.matches(name) or name.startswith(prefix_of(text))
