"""The cluster that users get for their own tests: real processes, from the command that they would run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from floodmark.errors import TransportError
from floodmark.sync import Client
from floodmark.testing import local_cluster


def test_a_cluster_for_a_test_of_ones_own() -> None:
    """Three nodes serve on entering; records go in and come out; on leaving nothing answers any more."""
    with local_cluster(nodes=3) as urls:
        assert len(urls) == 3
        with Client(urls) as client:
            client.topics.create("mine", partitions=2, replication_factor=3)
            places = [client.produce("mine", {"n": n}, key="k") for n in range(10)]
            assert [place.offset for place in places] == list(range(10))
            assert [record.json()["n"] for record in client.read("mine")] == list(range(10))
    with Client(urls, timeout_s=0.2) as client, pytest.raises(TransportError):
        client.cluster()


def test_a_cluster_that_does_not_start_says_why(tmp_path: Path) -> None:
    """What the command said is in the error."""
    command = tmp_path / "floodmark"
    command.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no room for more')\n")
    command.chmod(0o755)
    with pytest.raises(TransportError, match="no room for more"), local_cluster(command=str(command)):
        pass
