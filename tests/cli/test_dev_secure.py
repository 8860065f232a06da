"""``floodmark dev --secure`` with real node processes: nothing is open, and commands work right after."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import stat
import subprocess
from pathlib import Path

import aiohttp

from local.access import Access
from local.health import wait_healthy
from node.metadata.state import INTERNAL_PREFIX
from tests.cli.dev_process import STARTED, dev_process
from tests.support.curl import with_curl


async def _curl(line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    command = f"{line} -s --fail --max-time 20"
    return await asyncio.to_thread(
        subprocess.run, command, shell=True, env=environment, capture_output=True, check=False
    )


async def test_a_secure_cluster_is_used_at_once_and_stays_secure(tmp_path: Path) -> None:
    """By commands in another shell and by curl as told, by nobody else; also when it is started again."""
    environment = with_curl(tmp_path)
    async with dev_process(tmp_path, "--secure", "-n", "3") as dev:
        await dev.says(STARTED)
        assert all(url.startswith("https://") for url in dev.urls)
        token = tmp_path / "data" / "admin-token"
        access = Access(tmp_path / "data" / "certs" / "ca.pem", token)
        for private in (token, *(tmp_path / "data" / "certs").glob("*.key")):
            assert stat.S_IMODE(private.stat().st_mode) == 0o600
        assert (await dev.floodmark("topic", "list"))[0] == 0
        lines = [line for line in dev.text.splitlines() if line.startswith("  curl")]
        assert len(lines) == 3
        for line in lines:
            done = await _curl(line, environment)
            assert done.returncode == 0, (line, done)
            assert json.loads(done.stdout)
        code, out, _ = await dev.floodmark("consume", "greetings", "-o", "json")
        assert (code, '"hello"' in out) == (0, True)
        context = ssl.create_default_context(cafile=tmp_path / "data" / "certs" / "ca.pem")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as stranger:
            for url in dev.urls:
                for path, status in (("/v1/topics", 401), ("/metrics", 401), ("/readyz", 200)):
                    async with stranger.get(url + path) as answer:
                        assert answer.status == status, path
        await wait_healthy({url: url for url in dev.urls}, timeout_s=60, access=access)
        dev.process.send_signal(signal.SIGINT)
        assert await dev.ends() == 0
    async with dev_process(tmp_path) as dev:
        await dev.says(STARTED)
        assert dev.urls[0].startswith("https://")
        code, out, err = await dev.floodmark("topic", "list", "-o", "name")
        of_users = [name for name in out.splitlines() if not name.startswith(INTERNAL_PREFIX)]
        assert (code, of_users) == (0, ["greetings"]), err
