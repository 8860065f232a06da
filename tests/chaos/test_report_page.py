"""The page and its data: self-contained, bounded, documented, and never markup made of what a run says."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaos.history import Produce
from chaos.report import document
from chaos.report.bands import BANDS_MAX
from chaos.report.fault_spans import FAULTS_MAX
from chaos.report.findings import PER_KIND_MAX
from chaos.report.outages import OUTAGES_MAX
from chaos.report.series import BUCKETS_MAX
from chaos.report.write import write_report
from chaos.scenario.model import Scenario
from tests.chaos.random_run import RandomRun
from tests.chaos.reported import report_of, run_of
from tests.chaos.story import Story, replicas, v, vs
from tests.chaos.test_report_logs import said

SEED = int(os.environ.get("FLOODMARK_SEED") or random.SystemRandom().randrange(1 << 32))
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u2028&lt;"
)
VOID = {"meta"}


class Page(HTMLParser):
    """The elements of a page, and what is in its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "elements are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"script", "style"}:
            name = str(self.elements[-1][1].get("id") or self._open[-1])
            self.inside[name] = self.inside.get(name, "") + data


def hostile_page(folder: Path) -> str:
    """A report of a run in which names, notes and log lines are full of markup."""
    story = Story()
    story.produce(vs(0, 1), at=0)
    story.events[-2] = msgspec.structs.replace(story.events[-2], action=Produce(HOSTILE, 0, vs(0, 1)))
    story.fault_began(1, f"kill{HOSTILE} on {HOSTILE}")
    story.leads(HOSTILE, 1, group=HOSTILE)
    scenario = Scenario(name=HOSTILE, description=HOSTILE)
    logs = {"n1": said(0, HOSTILE, reason=HOSTILE) + HOSTILE + "\n"}
    return write_report(
        run_of(story, folder, *replicas(vs(0)), scenario=scenario, logs=logs, notes=[HOSTILE])
    ).read_text()


def test_nothing_that_a_run_says_becomes_markup(tmp_path: Path) -> None:
    """The page has the elements of its template and no others, and the data are what they were."""
    page = Page(hostile_page(tmp_path))
    tags = [tag for tag, _ in page.elements]
    known = [
        "html",
        "head",
        "meta",
        "meta",
        "meta",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "noscript",
        "p",
    ]
    assert tags == [*known, "script", "script"]
    report = msgspec.json.decode(page.inside["data"], type=document.Report)
    assert (report.scenario, report.notes) == (HOSTILE, [HOSTILE])
    assert HOSTILE in report.violations[0].log[0].text
    assert report == msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=document.Report)


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    """No address is in it but the name of SVG, and its policy allows this script and this style alone."""
    text = hostile_page(tmp_path)
    page = Page(text)
    for _, attributes in page.elements:
        assert not {"src", "href", "style"} & set(attributes)
    ours = page.inside["script"] + page.inside["style"]
    assert re.findall(
        r"(?:https?:)?//[^\s'\")]+\.[^\s'\")]+", re.sub(r"^\s*//.*$", "", ours, flags=re.M)
    ) == ["http://www.w3.org/2000/svg"]
    assert not re.search(
        r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|fetch|import)\b", ours
    )
    assert "url(" not in ours.replace("url(#", "")
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    hashes = [
        base64.b64encode(hashlib.sha256(page.inside[name].encode()).digest()).decode()
        for name in ("style", "script")
    ]
    assert policy == (
        "default-src 'none'; base-uri 'none'; "
        f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'"
    )


def test_every_script_of_the_package_is_on_the_page(tmp_path: Path) -> None:
    """Without a browser to try it, at least nothing is left out."""
    script = Page(hostile_page(tmp_path)).inside["script"]
    parts = sorted(Path(str(resources.files("chaos.report") / "page")).glob("*.js"))
    assert len(parts) > 5
    for part in parts:
        assert part.read_text(encoding="utf-8") in script, part.name


def test_a_browser_draws_it_and_runs_nothing_of_what_a_run_says(tmp_path: Path) -> None:
    """The verdict, the lanes and the hostile texts are on the page; no error is on the console."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on the path")
    hostile_page(tmp_path)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]
    page = (tmp_path / "report.html").as_uri()
    command = [browser, *flags, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", page]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert "CONSOLE" not in done.stderr
    assert re.search(r"<title>[^<]*: violated</title>", done.stdout), "the page's title is still its own"
    assert "1 lost" in done.stdout
    assert 'class="band"' in done.stdout
    assert "&lt;img src=x onerror=" in done.stdout
    assert "<img" not in done.stdout.partition('<script type="application/json"')[0]


def test_a_long_history_with_many_of_everything_makes_a_small_report(tmp_path: Path) -> None:
    """A day with thousands of faults, leaders, outages and violations: all bounded, the rest counted."""
    story = Story()
    faults = FAULTS_MAX + 20
    for number in range(faults):
        story.fault_began(number + 1)
        story.wait(70)
        story.produce([v(number)], at=number)
        story.fault_ended(number + 1)
        for part in range(5):
            story.leads(f"n{part % 3 + 1}", number * 5 + part)
    report = report_of(run_of(story, tmp_path, *replicas([v(0)])))
    assert len(report.series.produced_per_s) <= BUCKETS_MAX
    assert (len(report.faults), report.faults_left_out) == (FAULTS_MAX, 20)
    bands = sum(len(leaders.bands) for leaders in report.leaders)
    assert (bands, report.leaders_left_out) == (BANDS_MAX, faults * 5 - BANDS_MAX)
    assert len(report.outages) == OUTAGES_MAX
    assert report.outages_left_out == 2 * (faults - 1) - OUTAGES_MAX
    assert len(report.violations) == PER_KIND_MAX
    assert report.violation_counts == {"lost_tail": faults - 1}
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_random_runs_are_reported_as_the_checker_counts_them(tmp_path: Path) -> None:
    """Its figures and the report's come from the same history by different ways."""
    sys.stdout.write(f"replay with FLOODMARK_SEED={SEED}\n")
    run = RandomRun(SEED, steps=4_000)
    result = run_of(run.story, tmp_path, *run.final())
    figures = report_of(result).figures
    assert figures.records_acknowledged == result.check.figures.records_acknowledged
    known = figures.records_acknowledged + figures.records_unknown + figures.records_failed
    assert known == figures.records_sent == result.check.figures.records_sent


def fields_of(schema: dict[str, Any]) -> set[str]:
    """All names of a JSON schema's members, as part.name."""
    return {
        f"{part}.{name}" for part, described in schema["$defs"].items() for name in described["properties"]
    }


def test_every_field_of_the_report_is_documented() -> None:
    """docs/CHAOS.md names each, and none that there is not."""
    text = (
        (Path(__file__).parents[2] / "docs" / "CHAOS.md")
        .read_text(encoding="utf-8")
        .partition("## Reading a report")[2]
        .partition("\n## ")[0]
    )
    documented = {
        f"{part}.{name}"
        for part, names in re.findall(r"^\| `(\w+)` \|(.*)\|$", text, flags=re.M)
        for name in re.findall(r"`(\w+)`", names)
    }
    assert documented == fields_of(msgspec.json.schema(document.Report))
