"""A CA of the tests, and TLS by its certificates."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from local.certificates import Authority, Made, new_authority

DAY = timedelta(days=1)
HOSTS = ("localhost", "127.0.0.1")


class Files(NamedTuple):
    """Where a certificate and its key are."""

    cert: Path
    key: Path


class TestAuthority:
    """Makes certificates and puts them into ``folder``."""

    __test__ = False

    def __init__(self, folder: Path, cluster_id: str = "floodmark", name: str = "ca") -> None:
        self.folder = folder
        self.authority: Authority = new_authority(cluster_id, lasts=DAY)
        self.ca = folder / f"{name}.pem"
        self.authority.made.write(self.ca, folder / f"{name}.key")

    def node(self, name: str = "n1", hosts: tuple[str, ...] = HOSTS) -> Files:
        """A node's certificate; an earlier one of the name is replaced."""
        return self._write(self.authority.node(name, hosts, lasts=DAY), name)

    def user(self, name: str, *, ended: bool = False) -> Files:
        """A user's, which is valid, or was so until a moment ago."""
        made = self.authority.user(name, lasts=timedelta(seconds=-1) if ended else DAY)
        return self._write(made, f"user-{name}")

    def _write(self, made: Made, name: str) -> Files:
        files = Files(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        made.write(*files, over=True)
        return files

    def server_context(
        self, client_auth: ssl.VerifyMode = ssl.CERT_NONE, files: Files | None = None
    ) -> ssl.SSLContext:
        """For a server with a node's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(files or self.node()))
        context.load_verify_locations(self.ca)
        context.verify_mode = client_auth
        return context

    def client_context(self, files: Files | None = None) -> ssl.SSLContext:
        """Trusts this CA alone, and shows a user's certificate where there is one."""
        context = ssl.create_default_context(cafile=self.ca)
        if files is not None:
            context.load_cert_chain(*files)
        return context


class Source:
    """Satisfies ``TlsSource`` with one context after the other."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def still_trusts(self, made_by: ssl.SSLObject) -> bool:
        """Those that were made by the context of now."""
        return made_by.context is self.context
