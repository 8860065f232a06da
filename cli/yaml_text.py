"""JSON documents as YAML. PyYAML writes them; this module adds what JSON can hold but Python's values
cannot."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

import yaml

_WIDTH: Final = 1 << 30
"""Lines are never wrapped: a value that is cut in two is hard to copy."""


class _Number(str):
    """The text of a JSON number, so that every digit stays."""


class _Members(list[tuple[str, Any]]):
    """The members of an object in their order; a name may come twice."""


_READER = json.JSONDecoder(object_pairs_hook=_Members, parse_float=_Number, parse_int=_Number)


def yaml_text(value: Any) -> str:
    """A document with a final newline. Raises ``TypeError`` for what JSON cannot represent."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=_WIDTH, default_flow_style=False
    )
    return text.removesuffix("...\n")


def yaml_of_json(text: str) -> str:
    """The same document in YAML; every digit of its numbers and members that come twice stay."""
    return yaml_text(_READER.decode(text))


class _Dumper(yaml.SafeDumper):
    """Writes JSON's types only, and no references: what a document has twice is written twice."""

    yaml_representers: ClassVar[dict[Any, Any]] = {
        kind: represent
        for kind, represent in yaml.SafeDumper.yaml_representers.items()
        if kind in (bool, int, float, list, tuple, dict, type(None))
    }

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _refuse(_dumper: _Dumper, value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} cannot be part of a JSON document")


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    # An unprintable plain text would be read back differently: U+0085 is folded.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


def _members(dumper: _Dumper, members: _Members) -> yaml.Node:
    pairs = [(dumper.represent_data(name), dumper.represent_data(item)) for name, item in members]
    return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=not members)


def _digits(_dumper: _Dumper, number: _Number) -> yaml.Node:
    return yaml.ScalarNode(*_tagged(_number(number)))


_Dumper.yaml_representers[None] = _refuse
_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Members, _members)
_Dumper.add_representer(_Number, _digits)


def _tagged(text: str) -> tuple[str, str]:
    kind = "int" if text.removeprefix("-").isdecimal() else "float"
    return f"tag:yaml.org,2002:{kind}", text


def _number(text: str) -> str:
    """YAML 1.1 reads ``1e22`` as text; ``1.0e+22`` is a number to every version."""
    mantissa, exponent, power = text.replace("E", "e").partition("e")
    if not exponent:
        return text
    return f"{mantissa}{'' if '.' in mantissa else '.0'}e{power if power[0] in '+-' else '+' + power}"
