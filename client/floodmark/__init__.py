"""Floodmark's Python client, and the codecs that it shares with the server.

Importing this package is cheap: what needs an event loop and HTTP is loaded when it is first asked for.
"""

from __future__ import annotations
