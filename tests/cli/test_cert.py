"""``floodmark cert``: what it makes is taken by nodes and by OpenSSL, and nothing is written over."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from consensus.links.link_tls import node_uri
from local.certificates import open_authority
from node.security.tls import PeerTls
from node.settings import PeerTlsSettings
from tests.cli.conftest import Invoke


@pytest.fixture
def certs(tmp_path: Path, invoke: Invoke) -> Path:
    """A folder with a CA, and with certificates of a node and a user."""
    folder = tmp_path / "certs"
    for args in (
        ("init", folder, "--cluster-id", "a shop"),
        ("node", "n1", "--host", "10.0.0.1", "--host", "n1.example", "--host", "[::1]", "--ca", folder),
        ("user", "alice@example", "--ca", folder),
    ):
        result = invoke("cert", *args)
        assert result.exit_code == 0, result.output
        assert result.stdout == ""
    return folder


def shown(invoke: Invoke, *paths: Path) -> list[dict[str, Any]]:
    """What 'cert show' says of files."""
    found: list[dict[str, Any]] = json.loads(invoke("cert", "show", *paths, "-o", "json").stdout)[
        "certificates"
    ]
    return found


def test_files_and_what_is_in_them(certs: Path, invoke: Invoke) -> None:
    """Keys are private; names and ends are as asked for."""
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in certs.glob("*.key")}
    assert modes == dict.fromkeys(("ca.key", "n1.key", "user-alice@example.key"), 0o600)
    assert stat.S_IMODE(certs.stat().st_mode) == 0o700
    told = {Path(item["file"]).name: item for item in shown(invoke, certs)}
    assert {name: (item["uri"], item["hosts"], item["days_left"]) for name, item in told.items()} == {
        "ca.pem": ("spiffe://a%20shop", [], 3649),
        "n1.pem": ("spiffe://a%20shop/node/n1", ["n1.example", "10.0.0.1", "::1"], 364),
        "user-alice@example.pem": ("spiffe://a%20shop/user/alice%40example", [], 364),
    }
    table = invoke("cert", "show", certs)
    assert "spiffe://a%20shop/node/n1" in table.stdout


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_verifies_them(certs: Path, purpose: str) -> None:
    """By its strict rules: a node's for both ends, a user's for the client's alone."""
    verify = ["openssl", "verify", "-x509_strict", "-CAfile", certs / "ca.pem", "-purpose", purpose]
    subprocess.run([*verify, certs / "n1.pem"], check=True, capture_output=True)
    user = subprocess.run([*verify, certs / "user-alice@example.pem"], check=False, capture_output=True)
    assert (user.returncode == 0) is (purpose == "sslclient")


def test_a_node_takes_them(certs: Path) -> None:
    """As its settings name them."""
    settings = PeerTlsSettings(
        "require", str(certs / "n1.pem"), str(certs / "n1.key"), (str(certs / "ca.pem"),)
    )
    PeerTls(settings, name=node_uri("a shop", "n1"))


def test_nothing_is_written_over(certs: Path, invoke: Invoke) -> None:
    """Neither a CA nor a certificate, and not the other one of both files either."""
    before = {path: path.read_bytes() for path in certs.iterdir()}
    (certs / "n2.key").write_text("somebody's")
    for args in (("init", certs), ("node", "n1", "--ca", certs), ("node", "n2", "--ca", certs)):
        result = invoke("cert", *args)
        assert result.exit_code == 4
        assert "exists already; nothing was written" in result.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert not (certs / "n2.pem").exists()


def test_those_that_end_soon_are_renewed(certs: Path, invoke: Invoke) -> None:
    """With their names, and with the key of before where that is asked for."""
    invoke("cert", "node", "n2", "--ca", certs, "--host", "h", "--lasts", "20d")
    before = {name: (certs / name).read_bytes() for name in ("n1.pem", "n2.pem", "n2.key", "ca.pem")}
    result = invoke("cert", "renew", "--ca", certs)
    assert result.exit_code == 0, result.output
    assert f"{certs / 'n2.pem'}: spiffe://a%20shop/node/n2 until " in result.stderr
    after = {name: (certs / name).read_bytes() for name in before}
    assert {name for name in before if after[name] != before[name]} == {"n2.pem", "n2.key"}
    assert [(item["hosts"], item["days_left"]) for item in shown(invoke, certs / "n2.pem")] == [(["h"], 364)]
    assert "none of 3 certificates ends that soon" in invoke("cert", "renew", "--ca", certs).stderr
    invoke("cert", "renew", certs / "n2.pem", "--ca", certs, "--all", "--same-key")
    assert (certs / "n2.pem").read_bytes() != after["n2.pem"]
    assert (certs / "n2.key").read_bytes() == after["n2.key"]
    assert stat.S_IMODE((certs / "n2.key").stat().st_mode) == 0o600


def test_another_ca_takes_over(certs: Path, tmp_path: Path, invoke: Invoke) -> None:
    """A second CA of the same cluster makes them anew; one of another cluster does not."""
    for name, cluster in (("second", "a shop"), ("other", "another shop")):
        invoke("cert", "init", tmp_path / name, "--cluster-id", cluster)
    result = invoke("cert", "renew", certs / "n1.pem", "--ca", tmp_path / "second", "--all")
    assert result.exit_code == 0, result.output
    second = open_authority(tmp_path / "second")
    assert second.has_made(open_authority(certs).made.certificate) is False
    issuers = [item["issuer"] for item in shown(invoke, certs / "n1.pem", tmp_path / "second" / "ca.pem")]
    assert issuers[0] == issuers[1]
    refused = invoke("cert", "renew", certs / "n1.pem", "--ca", tmp_path / "other", "--all")
    assert refused.exit_code == 1
    assert (
        "it is for spiffe://a%20shop/node/n1, and this CA is that of spiffe://another%20shop"
        in refused.stderr
    )


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("node", "n1", "--ca", "none"), 3, "none holds no CA (ca.key)"),
        (("node", "a/b"), 2, "'a/b' is not the id of a node"),
        (("node", "n9", "--host", "http://x"), 2, "neither a host's name nor an address"),
        (("node", "n9", "--host", "a..b"), 2, "neither a host's name nor an address"),
        (("node", "n9", "--lasts", "0d"), 2, "an end that is to come"),
        (("node", "n9", "--lasts", "none"), 2, "an end that is to come"),
        (("node", "n9", "--lasts", "99999999999d"), 2, "no certificate lasts that long"),
        (("user", "a b"), 2, "'a b' is not a user's name"),
        (("user", "anonymous"), 2, "'anonymous' is not a user's name"),
        (("user", ".."), 2, "'..' is not a user's name"),
        (("renew", "certs/ca.pem", "--all"), 1, "certs/ca.pem: a CA is not renewed"),
        (("init", "new", "--cluster-id", ""), 2, "1 to 64 characters"),
        (("renew", "junk"), 1, "junk holds no certificate in PEM form"),
        (("show", "junk"), 1, "junk holds no certificate in PEM form"),
        (("show", "empty"), 3, "there is no certificate"),
    ],
)
def test_bad_input_is_told_in_words(
    certs: Path,
    invoke: Invoke,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    """Nothing is made of it."""
    monkeypatch.chdir(certs.parent)
    Path("junk").write_text("junk")
    Path("empty").mkdir()
    before = sorted(Path().rglob("*"))
    result = invoke("cert", *args)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert sorted(Path().rglob("*")) == before


def test_a_certificate_ends_with_its_ca(tmp_path: Path, invoke: Invoke) -> None:
    """Nobody would take it afterwards, and nobody should have to wonder."""
    invoke("cert", "init", tmp_path / "short", "--lasts", "10d")
    invoke("cert", "node", "n1", "--ca", tmp_path / "short")
    ends = {item["ends"] for item in shown(invoke, tmp_path / "short")}
    assert len(ends) == 1


def test_no_other_command_loads_what_makes_certificates() -> None:
    """It takes a while, and every command would wait for it."""
    code = (
        "import sys, cli.main, cli.cert, cli.produce; print([n for n in sys.modules if 'cryptography' in n])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
