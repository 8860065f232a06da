"""Settings: sources, precedence, and messages that name the field and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node import settings_sources
from node.addresses import is_loopback
from node.security.secret_files import open_to_groups, secrets_of
from node.settings import InvalidSettings, PeerTlsSettings, Settings
from node.settings_exposure import exposed_listeners

ROOT = Path(__file__).parents[2]
FILE = """
[node]
id = "n1"
data_dir = "data"
[cluster]
secret = "0123456789abcdef"
peers = { n1 = "127.0.0.1:7170", n2 = "127.0.0.1:7171" }
[raft]
heartbeat_s = 0.05
"""


def write(tmp_path: Path, text: str = FILE) -> Path:
    """A settings file."""
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def problems(config: Path | None = None, **given: Any) -> str:
    """What is wrong with these settings."""
    with pytest.raises(InvalidSettings) as caught:
        settings_sources.load(config, **given)
    return str(caught.value)


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    """Each source overrides the one before, field by field."""
    settings = settings_sources.load(
        write(tmp_path),
        environment={"FLOODMARK_RAFT_HEARTBEAT_S": "0.07", "FLOODMARK_NODE_RACK": "r1", "HOME": "/"},
        flags={"node.rack": "r2", "node.data_dir": None},
    )
    assert settings.raft.heartbeat_s == 0.07
    assert (settings.node.rack, settings.node.data_dir) == ("r2", "data")
    assert settings.raft.election_timeout_max_s == Settings().raft.election_timeout_max_s
    assert settings.initial_nodes == ["n1", "n2"]
    assert settings.peer_advertise == "127.0.0.1:7170"


def test_the_folder_of_testing_faults_is_not_within_the_data(tmp_path: Path) -> None:
    """A node that lost its folder would lose with it what tests need to know of it."""
    flags = {"node.data_dir": str(tmp_path / "n1"), "testing.faults": str(tmp_path / "n1" / "x" / "..")}
    assert "testing.faults" in problems(write(tmp_path), flags=flags)
    settings_sources.load(write(tmp_path), flags=flags | {"testing.faults": str(tmp_path / "n1.faults")})


def test_peers_can_be_given_in_one_variable(tmp_path: Path) -> None:
    """A map is written as name=address pairs."""
    settings = settings_sources.load(
        write(tmp_path), environment={"FLOODMARK_CLUSTER_PEERS": "n1=127.0.0.1:1, n9=127.0.0.1:9"}
    )
    assert settings.cluster.peers == {"n1": "127.0.0.1:1", "n9": "127.0.0.1:9"}
    assert "n1=127.0.0.1:7170" in problems(write(tmp_path), environment={"FLOODMARK_CLUSTER_PEERS": "n1"})


def test_unknown_names_are_errors_with_a_suggestion(tmp_path: Path) -> None:
    """A typing error never becomes a default."""
    text = problems(
        write(tmp_path, FILE + 'hartbeat_s = 1\n[clutser]\nid = "x"\n'),
        environment={"FLOODMARK_HTTP_LISTN": "x", "FLOODMARK_PROFILE": "of the command line"},
        flags={"node.rak": "r"},
    )
    assert "raft.hartbeat_s; did you mean heartbeat_s?" in text
    assert "[clutser]; did you mean cluster?" in text
    assert "FLOODMARK_HTTP_LISTN: unknown setting http.listn; did you mean listen?" in text
    assert "node.rak; did you mean rack?" in text
    assert "PROFILE" not in text


def test_all_problems_are_told_at_once_each_with_its_field() -> None:
    """An empty configuration says everything that is missing."""
    text = problems()
    for field in ("node.id", "node.data_dir", "cluster.peers", "cluster.secret"):
        assert field in text


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"node.id": "a b"}, "node.id"),
        ({"node.id": "n7"}, "cluster.peers lacks this node (n7)"),
        ({"http.listen": "7070"}, "http.listen"),
        ({"http.listen": "::1:7070"}, "brackets"),
        ({"http.listen": "0.0.0.0:7070"}, "http.advertise is missing"),
        ({"http.advertise": "ftp://x"}, "http.advertise"),
        ({"peer.listen": "127.0.0.1:0"}, "peer.listen"),
        ({"cluster.secret": "short"}, "cluster.secret has 5"),
        ({"cluster.secret": "abcdefg" * 9}, "7 different characters"),
        ({"cluster.secret_file": "x"}, "both given"),
        ({"cluster.dial": {"n 9": "127.0.0.1:1"}}, "cluster.dial.n 9"),
        ({"cluster.dial": {"n9": "127.0.0.1"}}, "cluster.dial.n9"),
        ({"cluster.join": ["127.0.0.1"]}, "cluster.join.0"),
        ({"cluster.peers": {}}, "--join HOST:PORT"),
        (
            {"cluster.peers": {}, "cluster.join": ["127.0.0.1:1"], "peer.listen": "0.0.0.0:7170"},
            "peer.advertise is missing",
        ),
        ({"raft.heartbeat_s": "0.4"}, "raft: 3 heartbeats"),
        ({"raft.heartbeat_s": "soon"}, "raft.heartbeat_s: Expected"),
        ({"limits.connections_max": 0}, "limits.connections_max"),
        ({"limits.inflight_node_bytes": 1 << 20}, "at most limits.inflight_node_bytes"),
        ({"limits.write_stall_s": "nan"}, "limits.write_stall_s"),
        ({"limits.wait_s_max": "inf"}, "limits.wait_s_max"),
        ({"limits.body_bytes_per_s_min": -1}, "limits.body_bytes_per_s_min"),
        ({"limits.sweep_s": 20.0}, "limits.sweep_s must be at most limits.header_timeout_s"),
        ({"limits.fetch_bytes_max": 1000}, "limits.fetch_bytes must be at most limits.fetch_bytes_max"),
        ({"limits.responses_bytes_max": 1 << 20}, "limits.fetch_bytes_max must be at most"),
        ({"limits.catch_up_bytes_per_s": 1000}, "limits.catch_up_bytes_per_s = 1000: use at least 65536"),
        ({"limits.catch_up_bytes_per_s": -1}, "limits.catch_up_bytes_per_s"),
        ({"limits.inflight_partition_bytes": 1}, "limits.inflight_partition_bytes: one record batch"),
        ({"storage.fsync_threads": 0}, "storage.fsync_threads"),
        ({"groups.per_shard_max": 0}, "groups.per_shard_max = 0"),
        ({"groups.offsets_retention_s": "inf"}, "groups.offsets_retention_s"),
        ({"groups.session_timeout_min_s": 7200.0}, "at most groups.session_timeout_max_s"),
        ({"log.level": "loud"}, "log.level"),
    ],
)
def test_a_bad_value_names_its_field(tmp_path: Path, flags: dict[str, Any], named: str) -> None:
    """One wrong value, one message."""
    assert named in problems(write(tmp_path), flags=flags)


def test_every_setting_is_described_for_operators() -> None:
    """None is missing in docs/OPERATIONS.md, those of HTTP included."""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    names = [f"{section}.{key}" for section, keys in settings_sources.SECTIONS.items() for key in keys]
    assert {"limits.body_window_s", "peer.tls.mode"} <= set(names)
    assert [name for name in names if f"`{name}`" not in text] == []


def test_a_file_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    """Missing, not TOML, not a table."""
    assert "cannot be read" in problems(tmp_path / "none.toml")
    assert "is not TOML" in problems(write(tmp_path, "= 1"))
    assert "must be a table" in problems(write(tmp_path, "node = 1"))


def test_the_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    """Its line end does not count; a short or missing one is refused."""
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    secret.chmod(0o640)
    text = FILE.replace('secret = "0123456789abcdef"', f'secret_file = "{secret}"')
    settings = settings_sources.load(write(tmp_path, text))
    assert secrets_of(settings) == (b"0123456789abcdef",)
    assert list(open_to_groups(settings)) == [str(secret)]
    for weak, why in (("short", "5 characters"), ("ab" * 40, "2 different characters")):
        secret.write_text(weak)
        with pytest.raises(InvalidSettings, match=why):
            secrets_of(settings)
    secret.chmod(0o644)
    with pytest.raises(InvalidSettings, match=r"may read .*: chmod 600"):
        secrets_of(settings)
    secret.unlink()
    with pytest.raises(InvalidSettings, match="secret_file"):
        secrets_of(settings)


def test_several_secrets_lie_in_files(tmp_path: Path) -> None:
    """The first is proved, all are accepted; a message names the one that is not good."""
    for name, text in (("new", "the new secret of these tests"), ("old", "0123456789abcdef")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    files = f'secret_files = ["{tmp_path}/new", "{tmp_path}/old"]'
    text = FILE.replace('secret = "0123456789abcdef"', files)
    settings = settings_sources.load(write(tmp_path, text))
    assert secrets_of(settings) == (b"the new secret of these tests", b"0123456789abcdef")
    assert list(open_to_groups(settings)) == []
    (tmp_path / "old").write_text("old")
    with pytest.raises(
        InvalidSettings, match=r"cluster.secret_files\[1\]: what .*/old holds has 3 characters"
    ):
        secrets_of(settings)
    both = {"cluster.secret_file": "x", "cluster.secret_files": ["y", "z"]}
    assert "cluster.secret and cluster.secret_file and" in problems(write(tmp_path), flags=both)
    assert "names a file twice" in problems(write(tmp_path, text), flags={"cluster.secret_files": "x,x"})


def test_tables_within_tables_are_given_by_every_source(tmp_path: Path) -> None:
    """A file that sets one key of [peer.tls] and a flag that sets another one both count."""
    path = write(tmp_path, FILE + '\n[peer.tls]\nmode = "prefer"\nkey = "k"\nca = ["a"]\n')
    settings = settings_sources.load(
        path, environment={"FLOODMARK_PEER_TLS_CERT": "c"}, flags={"peer.tls.ca": "a,b"}
    )
    assert settings.peer.tls == PeerTlsSettings(mode="prefer", cert="c", key="k", ca=("a", "b"))
    assert settings.peer.listen
    assert "needs peer.tls.cert as well" in problems(path)
    assert "peer.tls.mode" in problems(path, flags={"peer.tls.mode": "always"})
    wrong = write(tmp_path, FILE + '\n[peer.tls]\nmodus = "prefer"\n')
    assert "unknown setting peer.tls.modus; did you mean mode?" in problems(wrong)
    assert "peer.tls must be a table" in problems(write(tmp_path, FILE + "\n[peer]\ntls = 1\n"))


def test_ports_that_other_machines_reach_are_safe_or_said_not_to_be(tmp_path: Path) -> None:
    """One for users needs TLS and authentication, one for nodes TLS: each has its ways out, all named."""
    wide = {"http.listen": "0.0.0.0:7070", "http.advertise": "https://10.0.0.1:7070"}
    tls = {"http.tls.cert": "c", "http.tls.key": "k"}
    who = {"http.authentication": "required"}
    told = problems(write(tmp_path), flags=wide)
    for words in ("[http.tls]", 'http.authentication = "required"', "127.0.0.1", "http.insecure = true"):
        assert words in told
    assert "[http.tls]" not in problems(write(tmp_path), flags={**wide, **tls})
    assert "authentication" not in problems(write(tmp_path), flags={**wide, **who})
    settings = settings_sources.load(write(tmp_path), flags={**wide, **tls, **who})
    assert exposed_listeners(settings) == []

    nodes = {"peer.listen": "10.0.0.1:7170"}
    told = problems(write(tmp_path), flags=nodes)
    assert "[peer.tls]" in told
    assert "http.insecure = true" in told
    assert "http.listen" not in told
    safe = {"peer.tls.mode": "prefer", "peer.tls.cert": "c", "peer.tls.key": "k", "peer.tls.ca": "a"}
    assert exposed_listeners(settings_sources.load(write(tmp_path), flags={**nodes, **safe})) == []

    insecure = {**wide, **nodes, "http.insecure": "true"}
    settings = settings_sources.load(write(tmp_path), flags=insecure)
    assert exposed_listeners(settings) == ["http.listen = 0.0.0.0:7070", "peer.listen = 10.0.0.1:7170"]
    assert exposed_listeners(settings_sources.load(write(tmp_path))) == []
    assert is_loopback("localhost")
    assert is_loopback("::1")
    assert not is_loopback("node1.example")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"http.tls.cert": "c"}, "http.tls.cert needs http.tls.key"),
        ({"http.tls.key": "k"}, "http.tls.key needs http.tls.cert"),
        ({"http.tls.client_auth": "required"}, "without them there is no TLS"),
        ({"http.tls.cert": "c", "http.tls.key": "k", "http.tls.client_auth": "optional"}, "client_ca"),
        ({"http.tls.client_auth": "always"}, "http.tls.client_auth"),
        (
            {"http.tls.cert": "c", "http.tls.key": "k", "http.advertise": "http://a:1"},
            'advertise = "https://a:1"',
        ),
    ],
)
def test_what_tls_towards_users_needs(tmp_path: Path, flags: dict[str, str], told: str) -> None:
    """All of it, and nothing that contradicts it."""
    assert told in problems(write(tmp_path), flags=flags)


def test_lists_are_given_by_every_source(tmp_path: Path) -> None:
    """In the file as arrays, elsewhere with commas between."""
    settings = settings_sources.load(
        write(tmp_path, FILE + '[http]\nhosts = ["log.example"]\n'),
        environment={"FLOODMARK_HTTP_CORS_ORIGINS": "https://a.example, http://localhost:3000"},
    )
    assert settings.http.hosts == ("log.example",)
    assert settings.http.cors_origins == ("https://a.example", "http://localhost:3000")
    flags = {"http.hosts": "a,b.example"}
    assert settings_sources.load(write(tmp_path), flags=flags).http.hosts == ("a", "b.example")


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "app.example",
        "https://app.example/",
        "HTTPS://app.example",
        "https://App.example",
        "https://app.example:443",
        "http://app.example:80",
        "https://*.example",
        "https://a b",
        "//app.example",
        "",
    ],
)
def test_an_origin_is_written_as_browsers_do(tmp_path: Path, origin: str) -> None:
    """Anything else would never match, or match too much."""
    assert "http.cors_origins" in problems(write(tmp_path), flags={"http.cors_origins": [origin]})


@pytest.mark.parametrize(
    "host", ["http://log.example", "log.example:7070", "*", "*.example", "", "a b", ".example"]
)
def test_a_host_is_a_name(tmp_path: Path, host: str) -> None:
    """Without scheme, port and stars."""
    assert "http.hosts" in problems(write(tmp_path), flags={"http.hosts": [host]})
