"""Pages may be kept by those who asked, and are asked for again: a tag stands for one body."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.http.conftest import Answer, Harness

PATH = "/v1/topics/t/partitions/0/records"
FORMS = ["application/json", "application/vnd.msgpack", "application/vnd.floodmark.batch;v=1"]
QUERIES = ["", "?from=0&max_bytes=400", "?from=3", "?from=-2", "?from=latest", "?from=@0", "?max_records=4"]


@pytest.fixture(params=[1, 2])
def node_count(request: pytest.FixtureRequest) -> int:
    """Asked directly, and through a node that does not lead."""
    return int(request.param)


async def fill(http: Harness, first: int = 0, count: int = 6) -> None:
    """Some batches of one record."""
    for number in range(first, first + count):
        answer = await http.call(
            "POST", PATH, json={"value": f"number {number}", "timestamp": 1_000 + number}
        )
        assert answer.status == 200


async def get(http: Harness, query: str = "", method: str = "GET", **headers: str) -> Answer:
    """From the last node."""
    return await http.call(method, PATH + query, node=list(http.cluster.urls)[-1], headers=headers)


@pytest.mark.parametrize("accept", FORMS)
@pytest.mark.parametrize("query", QUERIES)
async def test_who_has_a_page_is_told_so(http: Harness, accept: str, query: str) -> None:
    """304 without a body, for GET and HEAD, for lists of tags and for any; nobody may use it unasked."""
    await http.make_topic()
    await fill(http)
    page = await get(http, query, Accept=accept)
    assert page.headers["Cache-Control"] == "private, no-cache"
    assert "Accept" in page.headers["Vary"]
    tag = page.headers["ETag"]
    assert tag.startswith('"'), "strong"
    assert (await get(http, query, "HEAD", Accept=accept)).headers["ETag"] == tag
    for known in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        for method in ("GET", "HEAD"):
            again = await get(http, query, method, Accept=accept, **{"If-None-Match": known})
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag), known
            assert again.headers["Cache-Control"] == "private, no-cache"
    for unknown in ('"another"', tag[:-2] + 'x"', tag.strip('"'), f'"{tag[1:5]}"'):
        other = await get(http, query, Accept=accept, **{"If-None-Match": unknown})
        assert (other.status, other.body) == (200, page.body), unknown


async def test_no_two_bodies_share_a_tag(http: Harness) -> None:
    """Forms, ranges, bounds that have moved, and a topic that was made again with the very same records."""
    bodies: dict[str, tuple[Any, bytes]] = {}

    async def look(when: str) -> None:
        start = http.cluster.logs["t", 0].start
        for accept, query in itertools.product(FORMS, QUERIES):
            if "from=0" in query and start > 0:
                continue
            page = await get(http, query, Accept=accept)
            known = bodies.setdefault(page.headers["ETag"], ((when, accept, query), page.body))
            assert known[1] == page.body, (known[0], (when, accept, query))

    await http.make_topic()
    await fill(http)
    await look("at first")
    await fill(http, 6, 1)
    await look("with one more")
    http.cluster.logs["t", 0].truncate_head(2)
    await look("trimmed")
    tags = set(bodies)
    await http.call("DELETE", "/v1/topics/t")
    await http.make_topic()
    await fill(http)
    for accept, query in itertools.product(FORMS, QUERIES):
        page = await get(http, query, Accept=accept)
        assert page.headers["ETag"] not in tags, "the other topic's"


async def test_frames_keep_their_tag_while_the_log_grows(http: Harness) -> None:
    """Nothing in them says where the log ends."""
    await http.make_topic()
    await fill(http)
    frames = "?from=0&max_bytes=400"
    page = await get(http, frames, Accept=FORMS[2])
    await fill(http, 6)
    again = await get(http, frames, Accept=FORMS[2], **{"If-None-Match": page.headers["ETag"]})
    assert (again.status, again.headers["Log-High-Watermark"]) == (304, "12")


async def test_who_keeps_nothing_is_given_no_tag(http: Harness) -> None:
    """Readers of the client, and nodes among themselves."""
    await http.make_topic()
    await fill(http)
    page = await get(http, Accept=FORMS[2], **{"Cache-Control": "no-store"})
    assert (page.status, page.headers["Cache-Control"], "ETag" in page.headers) == (200, "no-store", False)


async def test_nothing_else_is_kept(http: Harness) -> None:
    """Streams, cursors, bounds, descriptions and errors."""
    await http.make_topic()
    await fill(http)
    for path, accept in [
        (PATH, "application/x-ndjson"),
        ("/v1/topics/t/records", "application/json"),
        ("/v1/topics/t/records", "application/x-ndjson"),
        ("/v1/topics/t/partitions/0/tail", "*/*"),
        ("/v1/topics/t", "*/*"),
        ("/v1/topics", "*/*"),
        (PATH + "?from=99", "*/*"),
        ("/v1/topics/none/partitions/0/records", "*/*"),
    ]:
        answer = await http.call("GET", path, node=list(http.cluster.urls)[-1], headers={"Accept": accept})
        assert (answer.headers["Cache-Control"], "ETag" in answer.headers) == ("no-store", False), path
