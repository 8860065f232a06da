"""Which node is asked, with which problems turned into which errors."""

from __future__ import annotations

import pytest
from floodmark import errors
from floodmark.transport import nodes
from floodmark.transport.nodes import Nodes
from floodmark.transport.problems import error_of

A, B, C = "http://a:1", "http://b:1", "http://c:1"


def test_leaders_are_learned_and_forgotten() -> None:
    """An answer's hint decides who is asked next for that route, until that node fails."""
    known = Nodes([A])
    assert known.pick("t/0") == A
    known.answered(A, "t/0", B + "/")
    assert known.pick("t/0") == B
    assert known.pick("t/1") == known.pick(None) == A
    known.failed(B, "t/0")
    assert known.pick("t/0") == A
    known.answered(A, "t/0", B)
    assert known.pick("t/0") == A, "B failed a moment ago"
    known.answered(B, "t/0", None)
    assert known.pick("t/0") == B
    known.forget_leader("t/0")
    assert known.pick("t/0") == A


def test_a_node_that_fails_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is asked; when all have failed, the one whose penalty ends first; penalties grow."""
    now = [100.0]
    monkeypatch.setattr(nodes.time, "monotonic", lambda: now[0])
    known = Nodes([A, B, C])
    known.failed(A, None)
    assert known.pick(None) != A
    assert known.has_alternative()
    for url in (B, C):
        now[0] += 0.1
        known.failed(url, None)
    assert not known.has_alternative()
    assert known.pick(None) == A
    now[0] += 1.0
    known.failed(A, None)
    now[0] += 1.5
    assert known.pick(None) in (B, C), "A has failed twice and is left alone for two seconds"
    now[0] += 0.6
    assert known.has_alternative()


def test_a_leader_becomes_a_node_to_fall_back_on() -> None:
    """A client that was given one address survives that node's end."""
    known = Nodes([A])
    known.answered(A, "t/0", B)
    known.failed(A, None)
    assert known.pick(None) == B


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "http://",
        "http://a?x=1",
        "",
        "http://a:1,http://b:2",
        "http://a:port",
        "http://a:70000",
        "http://a:0",
        "http://[::1",
        "http://:7070",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    """At once, not at the first request."""
    with pytest.raises(errors.InvalidRequest):
        Nodes([url])


def test_urls_are_forgiving() -> None:
    """A trailing slash or a missing scheme is no mistake."""
    assert Nodes(["localhost:7070/"]).pick(None) == "http://localhost:7070"
    with pytest.raises(errors.InvalidRequest):
        Nodes([])


@pytest.mark.parametrize("code", sorted(set(errors.ERRORS_BY_CODE) - {"error", "transport_error"}))
def test_every_problem_becomes_its_error(code: str) -> None:
    """A problem document comes back as the class that it was made from, fields included."""
    cls = errors.ERRORS_BY_CODE[code]
    body = b'{"code":"%s","detail":"why","status":418,"expected_sequence":7}' % code.encode()
    error = error_of(418, {}, body)
    assert type(error) is cls
    assert error.detail == "why"
    assert error.fields["expected_sequence"] == 7


@pytest.mark.parametrize(
    ("status", "body", "cls"),
    [
        (503, b"<html>", errors.Unavailable),
        (404, b"", errors.NotFound),
        (502, b"bad gateway", errors.ServerError),
        (429, b'{"detail": null}', errors.TooManyRequests),
        (418, b"[1]", errors.ServerError),
        (400, b'{"code": "of a later version", "detail": "x"}', errors.InvalidRequest),
        (503, b"[" * 100_000, errors.Unavailable),
    ],
)
def test_what_is_no_problem_document_is_read_by_its_status(
    status: int, body: bytes, cls: type[errors.FloodmarkError]
) -> None:
    """A proxy in between, or a later version, is understood as far as possible."""
    error = error_of(status, {"Retry-After": "2"}, body)
    assert type(error) is cls
    assert error.detail
