"""Whom a node's certificate is for, beside whom its users are told to ask."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from local.certificates import Authority
from node import settings_sources
from node.security.certificate_files import covers
from node.security.credentials import Credentials
from tests.support.certificates import authority
from tests.support.nodes import SECRET


@pytest.mark.parametrize(
    ("names", "host", "is_covered"),
    [
        (["n1.example"], "n1.example", True),
        (["N1.Example"], "n1.example.", True),
        (["n1.example"], "n2.example", False),
        (["*.example"], "n1.example", True),
        (["*.example"], "a.n1.example", False),
        (["*.example"], "example", False),
        (["10.0.0.1"], "10.0.0.1", True),
        (["10.0.0.1"], "10.0.0.2", False),
        (["*.0.0.1"], "10.0.0.1", False),
        (["::1"], "[0:0:0:0:0:0:0:1]", True),
        ([], "n1.example", False),
    ],
)
def test_names_cover_hosts_as_clients_see_it(names: list[str], host: str, *, is_covered: bool) -> None:
    """Without regard to case, one label for a star, and addresses by their value."""
    assert covers(names, host) is is_covered


def _certify(folder: Path, by: Authority, *names: str) -> None:
    by.node("n1", names, lasts=timedelta(days=365)).write(folder / "n1.pem", folder / "n1.key", over=True)


async def test_a_node_says_at_once_that_its_users_would_refuse_its_certificate(tmp_path: Path) -> None:
    """In its log, once, and among its warnings, until there is one that fits."""
    by = authority("floodmark")
    _certify(tmp_path, by, "localhost", "10.0.0.1")
    settings = settings_sources.load(
        flags={
            "node.id": "n1",
            "node.data_dir": str(tmp_path / "data"),
            "cluster.peers": {"n1": "127.0.0.1:7170"},
            "cluster.secret": SECRET,
            "http.advertise": "https://n1.example:7070",
            "http.tls.cert": str(tmp_path / "n1.pem"),
            "http.tls.key": str(tmp_path / "n1.key"),
        }
    )
    with capture_logs() as log:
        kept = Credentials(settings, "n1")
        kept._tell_of_certificates()
    told = [line for line in log if line["event"] == "certificate_for_another_name"]
    assert len(told) == 1
    assert "is for localhost, 10.0.0.1, and not for n1.example" in told[0]["reason"]
    assert kept.warnings == [told[0]["reason"]]
    _certify(tmp_path, by, "localhost", "n1.example")
    assert kept.http_tls is not None
    kept.http_tls.take(kept.http_tls.load())
    assert kept.warnings == []
