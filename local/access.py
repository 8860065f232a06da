"""How the nodes of a local cluster are asked: with the cluster's CA and a token, where it is a secure one."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp


@dataclass(frozen=True, slots=True)
class Access:
    """``ca``: file with the CA of https nodes. ``token_file``: holds an administrator's token."""

    ca: Path | None = None
    token_file: Path | None = None

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """What ``document`` has made of it, in another process."""
        paths = (document.get("ca"), document.get("token_file"))
        return cls(*(None if path is None else Path(path) for path in paths))

    def document(self) -> dict[str, Any]:
        """For another process of this user."""
        return {"ca": self.ca and str(self.ca), "token_file": self.token_file and str(self.token_file)}

    @property
    def token(self) -> str | None:
        """The administrator's token, once there is one."""
        if self.token_file is None or not self.token_file.exists():
            return None
        return self.token_file.read_text(encoding="ascii").strip()

    @property
    def tls(self) -> ssl.SSLContext | None:
        """A new context for connections to https nodes."""
        return None if self.ca is None else ssl.create_default_context(cafile=self.ca)

    def session(self, *, timeout_s: float) -> aiohttp.ClientSession:
        """A session that asks nodes so."""
        token = self.token
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls or True),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        )


ANYBODY = Access()
"""Nodes that ask nobody who they are, over plain HTTP."""
