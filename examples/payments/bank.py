"""A bank for the example: charges accounts over HTTP, each payment once, and is slow or broken on demand.

    python examples/payments/bank.py 8099

``PUT /mode`` with ``ok`` or ``broken`` changes how it behaves, ``GET /charges`` says what was charged.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

SLOW_S = 3.0


class Bank:
    """Charges are known by the payment's id: one that comes again is answered as before."""

    def __init__(self) -> None:
        self.is_broken = False
        self.charged: dict[str, dict[str, object]] = {}
        self.asked: list[str] = []

    async def charge(self, request: web.Request) -> web.Response:
        """201: it is charged; 402: there is no money; 503: nobody knows what is wrong."""
        payment = await request.json()
        self.asked.append(payment["id"])
        if self.is_broken:
            return web.Response(status=503, text="the bank is broken")
        if payment["account"] == "slow" and payment["id"] not in self.charged:
            await asyncio.sleep(SLOW_S)
        if payment["account"] == "poor":
            return web.Response(status=402, text="there is no money")
        self.charged.setdefault(payment["id"], payment)
        return web.Response(status=201)

    async def mode(self, request: web.Request) -> web.Response:
        """Break, or be repaired."""
        self.is_broken = await request.text() == "broken"
        return web.Response()

    async def charges(self, _request: web.Request) -> web.Response:
        """What was charged, in order, and all payments that it was asked for."""
        return web.json_response({"charged": list(self.charged.values()), "asked": self.asked})


def main() -> None:
    """Serve until it is ended."""
    bank = Bank()
    app = web.Application()
    app.router.add_post("/charges", bank.charge)
    app.router.add_get("/charges", bank.charges)
    app.router.add_put("/mode", bank.mode)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
