"""Runs with TLS on every link and authentication: the same promises, asked for by an administrator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.cluster import ChaosCluster
from chaos.history import Invoke, Leads, Ok
from chaos.history_file import read_history
from chaos.scenario.builtin import builtin_names, builtin_scenario
from chaos.scenario.toml_form import parse_scenario
from chaos.toxiproxy.server import ToxiproxyServer
from cli.chaos_plan import secured
from node import settings_sources
from tests.chaos.chaos_process import SHORT, chaos, ended

CUT = """
[[fault]]
at_s = 2
for_s = 3
kind = "cut"
target = "one"
links = "all"
"""


def test_one_of_the_scenarios_that_come_along_is_secure() -> None:
    """Every matrix has it, and any other can be made so."""
    found = {name: builtin_scenario(name) for name in builtin_names()}
    assert [name for name, scenario in found.items() if scenario.secure] == ["secure"]
    plain = found["kill-leader"]
    assert secured(plain, secure=True).secure
    assert secured(plain, secure=False) == plain


def test_every_node_is_secure_those_that_come_later_too(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Clients and peers go by proxies, which see TLS alone; nothing is answered to who says nothing."""
    with ToxiproxyServer(tmp_path / "toxiproxy.log", binary=toxiproxy_binary) as toxiproxy:
        cluster = ChaosCluster(tmp_path / "cluster", toxiproxy, 2, further=1, secure=True)
        try:
            cluster.processes.add("n3")
            nodes = cluster.processes.nodes.values()
            loaded = {node.name: settings_sources.load(node.config) for node in nodes}
            urls = cluster.urls
            access = cluster.access
        finally:
            cluster.processes.close()
            cluster.machines.close()
    assert list(loaded) == ["n1", "n2", "n3"]
    for name, settings in loaded.items():
        assert (settings.http.authentication, settings.peer.tls.mode) == ("required", "require")
        assert settings.http.tls.cert.endswith(f"certs/{name}.pem")
        assert settings.http.advertise in urls
        assert set(settings.cluster.dial) == loaded.keys() - {name}
    assert all(url.startswith("https://") for url in urls)
    assert (access.ca, access.token) == (cluster.processes.folder / "certs" / "ca.pem", None)


@pytest.mark.long
async def test_the_command_makes_any_run_secure_and_its_faults_are_survived(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """Clients of every kind get through in their names; the folder has a scenario that is secure."""
    scenario = tmp_path / "short.toml"
    scenario.write_text(SHORT.format(name="short", kind="kill") + CUT)
    args = ("run", scenario, "--secure", "--out", tmp_path / "runs", "-o", "json")
    code, out, err = await ended(await chaos(*args, binary=toxiproxy_binary))
    assert code == 0, err
    found = json.loads(out)
    assert (found["clean"], found["notes"]) == (True, [])
    assert found["records_acknowledged"] > 500
    folder = Path(found["folder"])
    assert parse_scenario((folder / "scenario.toml").read_text()).secure
    events = list(read_history(folder / "history.jsonl"))
    done = {event.op for event in events if isinstance(event, Ok)}
    processes = {event.process for event in events if isinstance(event, Invoke) and event.op in done}
    assert {name.partition("-")[0] for name in processes} >= {
        "producer",
        "racer",
        "admin",
        "bounds",
        "tailing",
        "rereading",
    }
    assert {event.group for event in events if isinstance(event, Leads)} >= {"metadata", "orders/0"}
