"""Where settings come from: a TOML file, ``FLOODMARK_*`` variables and flags; the later ones win.

Every layer is a tree of tables. Keys are checked against the schema before the layers are merged, so that
a mistyped key is reported with its source.
"""

from __future__ import annotations

import difflib
import stat
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from node import settings_rules
from node.membership.identity import FILE_NAME as IDENTITY_FILE
from node.settings import InvalidSettings, Settings

ENVIRONMENT_PREFIX = "FLOODMARK_"
_OTHERS = stat.S_IROTH | stat.S_IWOTH
Tree = dict[str, dict[str, Any]]

_SECTIONS: dict[str, dict[str, Any]] = {
    section: typing.get_type_hints(kind) for section, kind in typing.get_type_hints(Settings).items()
}


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
        settings = msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidSettings([_readable(error)]) from error
    # A folder with data knows its cluster; only an empty one needs these settings to find it.
    first_start = not Path(settings.node.data_dir, IDENTITY_FILE).exists()
    settings_rules.check(settings, first_start=first_start)
    return settings


def secret_of(settings: Settings) -> bytes:
    """The cluster's shared secret. Raises ``InvalidSettings`` when its file cannot be used."""
    if not settings.cluster.secret_file:
        return settings.cluster.secret.encode()
    path = Path(settings.cluster.secret_file)
    try:
        mode = path.stat().st_mode
        secret = path.read_bytes().strip()
    except OSError as error:
        raise InvalidSettings([f"cluster.secret_file: {error}"]) from error
    if mode & _OTHERS:
        raise InvalidSettings(
            [f"cluster.secret_file: others than its owner and group may read {path}: chmod 600 {path}"]
        )
    # Any bytes may be a secret.
    weak = list(
        settings_rules.weakness_of(f"cluster.secret_file: what {path} holds", secret.decode("latin-1"))
    )
    if weak:
        raise InvalidSettings(weak)
    return secret


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
        if section not in _SECTIONS:
            problems.append(f"{config}: unknown table [{section}]{_did_you_mean(section, _SECTIONS)}")
        elif not isinstance(values, dict):
            problems.append(f"{config}: {section} must be a table, as in [{section}]")
        else:
            _check_keys(f"{config}: ", section, values, problems)
            tree[section] = values
    return tree


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> Tree:
    """FLOODMARK_NODE_ID is node.id. Variables outside our sections are ignored."""
    tree: Tree = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        section, _, key = variable[len(ENVIRONMENT_PREFIX) :].lower().partition("_")
        if section not in _SECTIONS or not key:
            continue
        if _check_keys(f"{variable}: ", section, {key: text}, problems):
            tree.setdefault(section, {})[key] = _parsed(section, key, text, variable, problems)
    return tree


def _from_flags(flags: Mapping[str, Any], problems: list[str]) -> Tree:
    tree: Tree = {}
    for name, value in flags.items():
        if value is None:
            continue
        section, _, key = name.partition(".")
        if section not in _SECTIONS:
            problems.append(f"unknown setting {name}{_did_you_mean(section, _SECTIONS)}")
        elif _check_keys("", section, {key: value}, problems):
            given = _parsed(section, key, value, name, problems) if isinstance(value, str) else value
            tree.setdefault(section, {})[key] = given
    return tree


def _parsed(section: str, key: str, text: str, name: str, problems: list[str]) -> Any:
    """Text parsed for the schema's type: maps are written "n1=host:port,n2=host:port", lists "a,b"."""
    kind = typing.get_origin(_SECTIONS[section][key])
    if kind is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is not dict:
        return text
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(equals for _, equals, _ in pairs):
        problems.append(f"{name}: write it as in n1=127.0.0.1:7170,n2=127.0.0.1:7171")
    return {node.strip(): address.strip() for node, _, address in pairs}


def _check_keys(where: str, section: str, values: Mapping[str, Any], problems: list[str]) -> bool:
    known = _SECTIONS[section]
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
