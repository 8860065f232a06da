"""Putting faults into force and healing them: twice, together, and on nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaos.faults import (
    Aim,
    Bandwidth,
    Bridge,
    Cut,
    DataLimit,
    Fault,
    Injection,
    Kill,
    Latency,
    Pause,
    Reset,
    Restart,
    Slice,
    SlowClose,
    Target,
)
from chaos.faults.network import LinkFault
from chaos.toxiproxy.control import Toxic
from chaos.toxiproxy.server import ToxiproxyServer
from chaos.view import NobodyLeads
from tests.chaos.faulty import ALL, LEADER, running, toxics


async def test_every_fault_in_force_and_healed(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Each kind once, put into force twice and healed twice: produce goes on, nothing stays behind."""
    faults: list[Fault] = [
        Cut(aim=LEADER),
        Cut(aim=Aim(target=Target.METADATA_LEADER), direction="in"),
        Cut(aim=Aim(node="n1"), peers=("n2",), links="all"),
        Bridge(aim=Aim(node="n3")),
        Bandwidth(aim=LEADER, kb_per_s=512, links="all"),
        Slice(aim=LEADER, links="all"),
        SlowClose(aim=LEADER, delay_ms=200, links="all"),
        DataLimit(aim=LEADER, data_bytes=20_000, links="all"),
        Reset(aim=LEADER, links="all"),
        Pause(aim=LEADER),
        Kill(aim=ALL),
        Restart(aim=LEADER),
    ]
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            for fault in faults:
                injection = Injection(fault, cluster)
                await injection.inject()
                nodes, on = list(injection.nodes), await toxics(cluster)
                await injection.inject()
                assert (injection.nodes, await toxics(cluster)) == (nodes, on), injection
                await injection.heal()
                await injection.heal()
                assert await toxics(cluster) == 0, injection
                await ledger.wait_acknowledged(100)
        await ledger.check(cluster.urls)


async def test_faults_on_the_same_node_do_not_undo_each_other(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """A node that two faults hold goes on only when both have let it go; so does a link."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _):
        n1 = Aim(node="n1")
        first, second, third = (
            Injection(fault, cluster) for fault in (Kill(aim=n1), Pause(aim=n1), Kill(aim=n1))
        )
        for injection in (first, second, third):
            await injection.inject()
        await first.heal()
        assert "n1" not in cluster.processes.children
        await third.heal()
        assert "n1" in cluster.processes.children
        assert not cluster.runs("n1")
        await second.heal()
        assert cluster.runs("n1")
        async with Injection(Cut(aim=n1), cluster):
            async with Injection(Cut(aim=n1), cluster):
                assert await toxics(cluster) == 16
            assert await toxics(cluster) == 8
        await cluster.ready()


async def test_an_aim_that_finds_nothing_is_told(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """A node or topic that is not: an error, and no fault in force."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _):
        injection = Injection(Kill(aim=Aim(node="n9")), cluster)
        with pytest.raises(ValueError, match="no node 'n9'"):
            await injection.inject()
        assert not injection.in_force
        with pytest.raises(NobodyLeads):
            await cluster.view.leader("nothing", timeout_s=0.5)


@pytest.mark.parametrize(
    "wrong", [{"target": Target.LEADER}, {"topic": "t"}, {"target": Target.ALL, "node": "n1"}]
)
def test_aims_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """When they are written, not when they are needed."""
    with pytest.raises(ValueError, match="target"):
        Aim(**wrong)


def test_a_bridge_of_many_nodes_is_refused() -> None:
    """When it is written, too."""
    with pytest.raises(ValueError, match="a bridge is one node, not all"):
        Bridge(aim=Aim(target=Target.ALL))


@pytest.mark.parametrize("fault", [Cut(), Latency(), Bandwidth(), SlowClose(), Reset(), DataLimit(), Slice()])
def test_toxiproxy_knows_every_attribute(fault: LinkFault, toxiproxy_binary: Path, tmp_path: Path) -> None:
    """It ignores the names that it does not know: what it says of a toxic must be what was asked for."""
    with ToxiproxyServer(tmp_path / "log", binary=toxiproxy_binary) as toxiproxy:
        toxiproxy.control.create("a", "127.0.0.1:9")
        wanted = Toxic(fault.toxic, "upstream", fault.attributes())
        toxiproxy.control.add("a", "x", wanted)
        assert toxiproxy.control.toxics("a") == {"x": wanted}
