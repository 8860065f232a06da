"""Where settings come from: a TOML file, ``FLOODMARK_*`` variables and flags; the later ones win.

Every layer is a tree of tables; a table within one, as [peer.tls], is a section of its own here. Keys are
checked against the schema before the layers are merged, so that a mistyped key is reported with its source.
"""

from __future__ import annotations

import difflib
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from node import settings_rules
from node.membership.identity import FILE_NAME as IDENTITY_FILE
from node.settings import InvalidSettings, Settings

ENVIRONMENT_PREFIX = "FLOODMARK_"
Tree = dict[str, dict[str, Any]]


def _sections(kind: type, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, inner in typing.get_type_hints(kind).items():
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            section = prefix + name
            within = dict(_sections(inner, f"{section}."))
            known = typing.get_type_hints(inner).items()
            yield section, {key: value for key, value in known if f"{section}.{key}" not in within}
            yield from within.items()


SECTIONS: dict[str, dict[str, Any]] = dict(_sections(Settings))
"""Dotted name of each table -> its keys, and what they hold."""


def load(
    config: str | Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from all sources, checked. ``flags`` maps dotted names ("node.id") to values or None.

    Raises ``InvalidSettings``.
    """
    merged: Tree = {}
    problems: list[str] = []
    for tree in (
        _from_file(config, problems),
        _from_environment(environment or {}, problems),
        _from_flags(flags or {}, problems),
    ):
        for section, values in tree.items():
            merged.setdefault(section, {}).update(values)
    if problems:
        raise InvalidSettings(problems)
    try:
        settings = msgspec.convert(_nested(merged), Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidSettings([_readable(error)]) from error
    # A folder with data knows its cluster; only an empty one needs these settings to find it.
    first_start = not Path(settings.node.data_dir, IDENTITY_FILE).exists()
    settings_rules.check(settings, first_start=first_start)
    return settings


def _from_file(config: str | Path | None, problems: list[str]) -> Tree:
    if config is None:
        return {}
    try:
        loaded = tomllib.loads(Path(config).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"the settings file cannot be read: {error}")
        return {}
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{config} is not TOML: {error}")
        return {}
    tree: Tree = {}
    for section, values in loaded.items():
        if section not in SECTIONS:
            problems.append(f"{config}: unknown table [{section}]{_did_you_mean(section, SECTIONS)}")
        else:
            _add_table(tree, section, values, f"{config}: ", problems)
    return tree


def _add_table(tree: Tree, section: str, values: Any, where: str, problems: list[str]) -> None:
    if not isinstance(values, dict):
        problems.append(f"{where}{section} must be a table, as in [{section}]")
        return
    own = {key: value for key, value in values.items() if f"{section}.{key}" not in SECTIONS}
    _check_keys(where, section, own, problems)
    tree[section] = own
    for key in values.keys() - own.keys():
        _add_table(tree, f"{section}.{key}", values[key], where, problems)


def _nested(tree: Tree) -> dict[str, Any]:
    """As the schema has it."""
    nested: dict[str, Any] = {}
    for section in sorted(tree):  # A table comes before those in it.
        outer, dot, name = section.rpartition(".")
        (nested.setdefault(outer, {}) if dot else nested)[name] = dict(tree[section])
    return nested


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> Tree:
    """FLOODMARK_NODE_ID is node.id. Variables outside our sections are ignored."""
    tree: Tree = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        section, key = _named(variable[len(ENVIRONMENT_PREFIX) :].lower())
        if section not in SECTIONS or not key:
            continue
        if _check_keys(f"{variable}: ", section, {key: text}, problems):
            tree.setdefault(section, {})[key] = _parsed(section, key, text, variable, problems)
    return tree


def _named(name: str) -> tuple[str, str]:
    """("peer.tls", "mode") of peer_tls_mode."""
    for section in SECTIONS:
        if "." in section and name.startswith(f"{section.replace('.', '_')}_"):
            return section, name[len(section) + 1 :]
    section, _, key = name.partition("_")
    return section, key


def _from_flags(flags: Mapping[str, Any], problems: list[str]) -> Tree:
    tree: Tree = {}
    for name, value in flags.items():
        if value is None:
            continue
        section, _, key = name.rpartition(".")
        if section not in SECTIONS:
            problems.append(f"unknown setting {name}{_did_you_mean(section, SECTIONS)}")
        elif _check_keys("", section, {key: value}, problems):
            given = _parsed(section, key, value, name, problems) if isinstance(value, str) else value
            tree.setdefault(section, {})[key] = given
    return tree


def _parsed(section: str, key: str, text: str, name: str, problems: list[str]) -> Any:
    """Text parsed for the schema's type: maps are written "n1=host:port,n2=host:port", lists "a,b"."""
    kind = typing.get_origin(SECTIONS[section][key])
    if kind is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is not dict:
        return text
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(equals for _, equals, _ in pairs):
        problems.append(f"{name}: write it as in n1=127.0.0.1:7170,n2=127.0.0.1:7171")
    return {node.strip(): address.strip() for node, _, address in pairs}


def _check_keys(where: str, section: str, values: Mapping[str, Any], problems: list[str]) -> bool:
    known = SECTIONS[section]
    unknown = [key for key in values if key not in known]
    problems.extend(f"{where}unknown setting {section}.{key}{_did_you_mean(key, known)}" for key in unknown)
    return not unknown


def _did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"


def _readable(error: msgspec.ValidationError) -> str:
    """msgspec says "Expected `int`, got `str` - at `$.raft.heartbeat_s`": put the field first."""
    text, found, path = str(error).rpartition(" - at `$.")
    return f"{path.rstrip('`')}: {text}" if found else str(error)
