"""Fixtures for tests of your own application: a Floodmark cluster, and faults to put onto it.

Installing ``floodmark-server`` is enough: pytest finds this module by its entry point ("floodmark"). Nothing
else of the server is imported before a test uses a fixture. See docs/CHAOS.md, "From pytest".
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    import floodmark.sync
    from pluggy import Result

    from chaos.testing.cluster import FaultyCluster
    from chaos.testing.faults import Faults

Scope = Literal["session", "package", "module", "class", "function"]

_CLUSTER = pytest.StashKey["FaultyCluster"]()
"""Key of the configuration: the cluster that runs now."""
_FAULTS = pytest.StashKey["Faults"]()
"""Of a test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the cluster."""
    group = parser.getgroup("floodmark", "a Floodmark cluster with faults")
    group.addoption(
        "--floodmark-nodes",
        type=_node_count,
        default=3,
        metavar="N",
        help="nodes of the cluster (default: 3)",
    )
    group.addoption(
        "--floodmark-scope",
        choices=("session", "package", "module", "class", "function"),
        default="session",
        help="lifetime of one cluster (default: session, that is, all tests)",
    )
    group.addoption(
        "--floodmark-keep",
        type=Path,
        metavar="FOLDER",
        help="keep settings, logs and data of the nodes in a new folder in this one",
    )
    group.addoption("--floodmark-seed", type=int, metavar="N", help="seed of the random parts of faults")


def _scope(fixture_name: str, config: pytest.Config) -> Scope:  # noqa: ARG001 - pytest passes both by name
    scope: Scope = config.getoption("--floodmark-scope")
    return scope


@pytest.fixture(scope=_scope)
def floodmark_cluster(pytestconfig: pytest.Config) -> Iterator[FaultyCluster]:
    """A cluster that is ready. One for all tests, unless ``--floodmark-scope`` says otherwise.

    Without Toxiproxy the test is skipped; with ``CI`` set and Go on the machine it fails instead.
    """
    from chaos.testing.cluster import FaultyCluster  # noqa: PLC0415 - costs nothing if not used
    from chaos.testing.toxiproxy import toxiproxy_or_skip  # noqa: PLC0415
    from local.errors import LocalClusterError  # noqa: PLC0415

    binary = toxiproxy_or_skip()
    count: int = pytestconfig.getoption("--floodmark-nodes")
    seed = pytestconfig.getoption("--floodmark-seed")
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    with ExitStack() as stack:
        folder = _folder(pytestconfig, stack)
        running = FaultyCluster.running(folder, count, binary=binary, seed=seed)
        try:
            cluster = stack.enter_context(running)
        except LocalClusterError as error:
            pytest.fail(f"no Floodmark cluster: {error}", pytrace=False)
        pytestconfig.stash[_CLUSTER] = cluster
        stack.callback(pytestconfig.stash.__delitem__, _CLUSTER)
        yield cluster


@pytest.fixture
def floodmark_faults(floodmark_cluster: FaultyCluster, request: pytest.FixtureRequest) -> Iterator[Faults]:
    """Injects faults into the cluster. After the test all are healed and every node is ready again."""
    from chaos.testing.faults import Faults  # noqa: PLC0415

    faults = request.node.stash[_FAULTS] = Faults(floodmark_cluster, request.node.nodeid)
    try:
        yield faults
    finally:
        try:
            faults.heal()
        finally:
            floodmark_cluster.revive()


@pytest.fixture
def floodmark_urls(floodmark_cluster: FaultyCluster) -> list[str]:
    """Base URLs of all nodes, for clients."""
    return floodmark_cluster.urls


@pytest.fixture
def floodmark_url(floodmark_cluster: FaultyCluster) -> str:
    """The base URL of the first node, for programs that accept only one."""
    return floodmark_cluster.urls[0]


@pytest.fixture
def floodmark_client(floodmark_cluster: FaultyCluster) -> Iterator[floodmark.sync.Client]:
    """A ``floodmark.sync.Client`` of all nodes, new for every test."""
    from floodmark import sync  # noqa: PLC0415

    with sync.Client(floodmark_cluster.urls) as client:
        yield client


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Result[pytest.TestReport], None]:
    """Add to a failure which faults were in force, and the last log lines of the nodes."""
    outcome = yield
    report = outcome.get_result()
    cluster = item.config.stash.get(_CLUSTER, None)
    if report.failed and cluster is not None and "floodmark_cluster" in getattr(item, "fixturenames", ()):
        from chaos.testing.account import account  # noqa: PLC0415

        report.sections.append(("floodmark", account(cluster, item.stash.get(_FAULTS, None))))


def _folder(config: pytest.Config, stack: ExitStack) -> Path:
    keep: Path | None = config.getoption("--floodmark-keep")
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="floodmark-")))
    keep.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="floodmark-", dir=keep)).absolute()


def _node_count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count
