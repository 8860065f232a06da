"""Boot numbers of nodes that run: what is told is on disk before, what peers tell is kept in little room."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog

from consensus.links.link_types import Reception
from node.membership import registry as registry_module
from node.membership.boots import Boots
from node.membership.identity import IdentityProblem
from node.membership.registry import Boot, Registry
from storage.memory_filesystem import MemoryFileSystem
from tests.node.test_discovery import FS, Member, dial, meet

ORIGINAL = Boot(1, "p")


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """One thread for what is written."""
    with ThreadPoolExecutor(1) as threads:
        yield threads


@contextlib.asynccontextmanager
async def doing(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """A task of a node, ended afterwards."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """What another thread brings about."""
    while not condition():  # noqa: ASYNC110 - tasks and threads of the code under test, which tell nobody
        await asyncio.sleep(0.001)


def test_a_copy_from_before_a_rise_comes_back_under_a_number_that_is_known(tmp_path: Path) -> None:
    """And one restart more of the folder itself is above all that was told."""
    n1, n2 = Member(tmp_path / "n1", "n1", ["n1", "n2"]), Member(tmp_path / "n2", "n2", ["n1", "n2"])
    meet(n1, n2)
    then = n1.identity
    n1.discovery.raise_boot()
    n2.registry.risen({("n1", then.incarnation): n1.discovery.boot})
    FS.mkdir(str(tmp_path / "copy"))
    (tmp_path / "copy" / "node.json").write_bytes((tmp_path / "n1" / "node.json").read_bytes())
    n1.discovery.raise_boot()
    n2.registry.risen({("n1", then.incarnation): n1.discovery.boot})
    assert n1.discovery.boot == then.boot + 2
    n2 = n2.restarted(["n1", "n2"])
    n1 = n1.restarted(["n1", "n2"])
    assert n1.identity.boot == then.boot + 3
    assert dial(n1, n2)[0] is Reception.WELCOME
    old = Member(tmp_path / "copy", "n1", ["n1", "n2"])
    assert old.identity.boot == then.boot + 2
    assert dial(old, n2)[0] is Reception.REFUSED
    assert old.set_back == 1


def test_what_one_process_says_may_be_heard_the_other_way_round(tmp_path: Path) -> None:
    """A welcome that was overtaken by a beat neither lowers what is known nor is it an old copy's."""
    n1, n2 = Member(tmp_path / "n1", "n1", ["n1", "n2"]), Member(tmp_path / "n2", "n2", ["n1", "n2"])
    meet(n1, n2)
    said = n1.discovery.announce("n2")
    n1.discovery.raise_boot()
    key = ("n1", n1.identity.incarnation)
    n2.registry.risen({key: n1.discovery.boot})
    size = (tmp_path / "n2" / "registry.log").stat().st_size
    assert n2.discovery.heard("n1", said) is Reception.WELCOME
    n2.registry.risen({key: n1.discovery.boot, ("n1", "another"): 99, ("n9", "x"): 99})
    assert n2.registry.boots["n1"][key[1]].number == n1.discovery.boot
    assert (tmp_path / "n2" / "registry.log").stat().st_size == size


async def test_a_number_that_is_not_on_disk_is_not_told(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said once, tried again and again; when the disk takes it, it is told. The node lives on."""
    n1, n2 = Member(tmp_path / "n1", "n1", ["n1", "n2"]), Member(tmp_path / "n2", "n2", ["n1", "n2"])
    meet(n1, n2)
    first = n1.identity.boot
    boots = Boots(n1.discovery, n1.registry, executor, 0.001)
    tries = 0
    tried, rose = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    kept = n1.discovery.own.kept
    save = kept._keep

    def full(*_: object) -> None:
        nonlocal tries
        tries += 1
        if tries == 5:
            loop.call_soon_threadsafe(tried.set)
        raise IdentityProblem("No space left on device")

    def works(identity: Any) -> None:
        assert n1.discovery.boot == identity.boot - 1, "told before it was kept"
        save(identity)
        loop.call_soon_threadsafe(rose.set)

    monkeypatch.setattr(kept, "_keep", full)
    with structlog.testing.capture_logs() as log:
        async with asyncio.timeout(20), doing(boots.rise()):
            await tried.wait()
            assert n1.discovery.boot == n1.identity.boot == first
            assert dial(n1, n2)[0] is Reception.WELCOME
            assert n2.registry.boots["n1"][n1.identity.incarnation].number == first
            monkeypatch.setattr(kept, "_keep", works)
            await rose.wait()
    executor.shutdown()
    assert n1.discovery.boot == n1.discovery.identity.boot > first
    assert [line["event"] for line in log if line["log_level"] == "error"] == ["boot_number_not_raised"]
    assert n1.restarted(["n1", "n2"]).identity.boot == n1.discovery.boot + 1


async def test_a_node_alone_writes_nothing_until_there_are_others(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nobody who could know better than its folder, before a node has joined."""
    n1 = Member(tmp_path, "n1", ["n1"])
    before = (tmp_path / "node.json").read_bytes()
    looks = 0

    class Alone(tuple[str, ...]):
        def __len__(self) -> int:
            nonlocal looks
            looks += 1
            return 1

    monkeypatch.setattr(n1.discovery.roster, "members", Alone())
    async with asyncio.timeout(20), doing(Boots(n1.discovery, n1.registry, executor, 0.001).rise()):
        await until(lambda: looks == 5)
        assert (tmp_path / "node.json").read_bytes() == before
        boot = n1.discovery.boot
        n1.discovery.roster.members = ("n1", "n2")
        await until(lambda: n1.discovery.boot > boot)


async def test_what_cannot_be_kept_of_a_peer_is_kept_later(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    """Numbers that come while the disk is busy, or takes nothing, cost one line in the end."""
    fs = MemoryFileSystem()
    fs.mkdir("/n1")
    registry = Registry(fs, "/n1")
    registry.met_boot("n2", "i", ORIGINAL)
    registry.met_boot("n3", "i", ORIGINAL)
    discovery = Member(tmp_path, "n1").discovery
    boots = Boots(discovery, registry, executor, 60)
    fs.fail("sync", path="registry.log", error=errno.ENOSPC)
    with structlog.testing.capture_logs() as log:
        async with asyncio.timeout(20), doing(boots.keep()):
            boots.told("n2", "i", 2)
            await until(lambda: bool(log))
            assert registry.boots["n2"]["i"] == ORIGINAL
            syncs = fs.calls["sync"]
            for number in range(2, 100):
                boots.told("n3", "i", number)
            await until(lambda: registry.boots["n3"]["i"].number == 99 and not boots._told)
    assert [line["event"] for line in log] == ["peers_boot_numbers_not_kept"]
    assert fs.calls["sync"] == syncs + 2
    fs.crash(random.Random(1))
    assert Registry(fs, "/n1").boots == {"n2": {"i": Boot(2, "p")}, "n3": {"i": Boot(99, "p")}}


def test_the_registry_stays_short_while_a_node_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A year of minutes needs no more room than a day."""
    monkeypatch.setattr(registry_module, "LINES_BEFORE_REWRITE", 20)
    fs = MemoryFileSystem()
    fs.mkdir("/n1")
    registry = Registry(fs, "/n1")
    registry.created([1, 2, 3])
    registry.met("n2", "i")
    for peer in ("n2", "n3"):
        registry.met_boot(peer, "i", ORIGINAL)
    sizes = []
    for number in range(2, 500):
        registry.risen({("n2", "i"): number, ("n3", "i"): number})
        sizes.append(fs.size("/n1/registry.log"))
    assert max(sizes) < 22 * 60
    assert 50 < fs.calls["rename"] < 70, "one in fifteen lines"
    fs.crash(random.Random(1))
    again = Registry(fs, "/n1")
    assert (again.groups, again.peers) == ({1, 2, 3}, {"n2": "i"})
    assert again.boots == {"n2": {"i": Boot(499, "p")}, "n3": {"i": Boot(499, "p")}}


@pytest.mark.parametrize("seed", range(30))
def test_nothing_that_was_kept_is_forgotten_whatever_fails_while_the_registry_is_rewritten(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any call of the disk may fail, and the power goes at any moment."""
    monkeypatch.setattr(registry_module, "LINES_BEFORE_REWRITE", 6)
    chance = random.Random(seed)
    fs = MemoryFileSystem()
    fs.mkdir("/n1")
    registry = Registry(fs, "/n1")
    registry.created([1])
    registry.met_boot("n2", "i", ORIGINAL)
    kept = tried = 1
    refused = 0
    for _ in range(300):
        if chance.random() < 0.2:
            operation = chance.choice(["open", "write", "sync", "rename", "sync_folder", "truncate"])
            fs.fail(operation, after=chance.randrange(3))
        tried += 1
        try:
            registry.risen({("n2", "i"): tried})
            kept = tried
        except IdentityProblem:
            refused += 1
        assert registry.boots["n2"]["i"].number == kept
        if chance.random() < 0.1:
            fs.heal()
            fs.crash(chance)
            registry = Registry(fs, "/n1")
            found = registry.boots["n2"]["i"].number
            assert kept <= found <= tried
            assert registry.groups == {1}
            kept = found
    assert refused > 5
