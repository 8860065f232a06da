"""Pieces of the API's description that all its parts are made of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from node.http import openapi_answers as answers
from node.http.media import Media

DURATION: Final = {"type": "string", "pattern": "^(0|[0-9]{1,15}(ms|s|m|h))$"}
POSITIVE: Final = {"type": "integer", "minimum": 1}
TEXT: Final = {"type": "string"}


def operation(
    summary: str,
    parameters: list[dict[str, Any]] | None = None,
    *,
    body: dict[str, Any] | None = None,
    answer: str | tuple[Media, ...] = "application/json",
    result: type | tuple[type, ...] | None = None,
    status: str = "200",
    also: Mapping[str, type] = MappingProxyType({}),
) -> dict[str, Any]:
    """``result``: the type of an answer in JSON, or several. ``also``: other statuses but problems."""
    medias = [answer] if isinstance(answer, str) else [str(media) for media in answer]
    responses: dict[str, Any] = {
        code: answers.response(code, medias, kind) for code, kind in {status: result, **also}.items()
    }
    responses["default"] = answers.PROBLEM
    found: dict[str, Any] = {"summary": summary, "parameters": parameters or [], "responses": responses}
    if body is not None:
        found["requestBody"] = body
    return found


def path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter in the path."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


def query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter in the query."""
    return {"name": name, "in": "query", "schema": schema}


def header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A header of the request."""
    return {"name": name, "in": "header", "schema": schema}
