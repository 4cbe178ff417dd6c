"""Reads settings: one TOML file, then the environment over it; everything that is wrong is said at once.

`QUANTUM_` variables overrule the file, with two underscores between section and name:
`QUANTUM_DATA_DIR=/var/lib/quantum`, `QUANTUM_SERVER__PORT=9000`. This module is the only reader of the environment.
"""

from __future__ import annotations

import os
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from quantum.contradictions import find_contradictions, find_role_problems
from quantum.settings import HIDDEN, Section, Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = "QUANTUM_"
NOT_SETTINGS: Final = frozenset({"QUANTUM_TRACEBACK"})
"""Variables that mean something to the command line alone."""
SECRET: Final = re.compile(r"(?:password|secret|token)$").search
"""Ends of the names of settings of which no value is repeated."""
DEFAULT_FILE: Final = "quantum.toml"
SHORT: Final = {"store": "kind"}
"""A text in the place of these sections is the value of the setting that they are mostly about."""


def load_settings(
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    role: str = "all",
) -> Settings:
    """Return the settings of a file (default: `quantum.toml` if there is one), the environment and the command line.

    Args:
        file: path of a TOML file; it must exist if given.
        environment: default: the process's.
        overrides: dotted names to values, for example `{"server.port": 0}`; None values are left out.
        role: of the process that they are for.

    Raises:
        SettingsError: with every problem found.
    """
    problems: list[str] = []
    tree = _read_file(file, problems)
    for path, text in _variables(os.environ if environment is None else environment):
        _set(tree, path, text)
    for dotted, value in (overrides or {}).items():
        if value is not None:
            _set(tree, dotted.split("."), value)
    settings = _build(Settings, tree, "", problems)
    if isinstance(settings, Settings):
        problems += [*find_contradictions(settings), *find_role_problems(role, settings)]
    if problems or not isinstance(settings, Settings):
        raise SettingsError(problems)
    return settings


def _read_file(file: str | None, problems: list[str]) -> dict[str, Any]:
    path = Path(file or DEFAULT_FILE)
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path}: {error.strerror or error}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: {error}")
    return {}


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[list[str], str]]:
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            yield name.removeprefix(PREFIX).lower().split("__"), environment[name]


def _set(tree: dict[str, Any], path: list[str], value: object) -> None:
    *sections, name = path
    for section in sections:
        following = tree.setdefault(section, {})
        if isinstance(following, str) and section in SHORT:
            following = tree[section] = {SHORT[section]: following}
        if not isinstance(following, dict):
            return
        tree = following
    tree[name] = value


def _build(kind: type[Section], tree: Mapping[str, Any], prefix: str, problems: list[str]) -> Section | None:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    before = len(problems)
    for name, raw in tree.items():
        if name not in fields:
            close = get_close_matches(name, fields, n=1)
            problems.append(f"{prefix}{name}: there is no such setting{f'; did you mean {close[0]}?' if close else ''}")
            continue
        values[name] = _value(fields[name].type, raw, f"{prefix}{name}", problems)
    problems += [f"{prefix}{name}: is missing" for name in fields if fields[name].required and name not in tree]
    return None if len(problems) > before else kind(**values)


def _value(kind: Any, raw: object, name: str, problems: list[str]) -> object:
    if (section := _section_of_many(kind)) is not None and isinstance(raw, list):
        found = [_value(section, one, f"{name}[{index}]", problems) for index, one in enumerate(raw)]
        return tuple(found)
    if isinstance(kind, type) and issubclass(kind, Section):
        if isinstance(raw, str) and name in SHORT:
            raw = {SHORT[name]: raw}
        if isinstance(raw, dict):
            return _build(kind, raw, f"{name}.", problems)
        problems.append(f"{name}: expected a table of settings, got {raw!r}")
        return None
    try:
        return msgspec.convert(_split(kind, raw), kind, strict=not isinstance(raw, str))
    except msgspec.ValidationError as error:
        shown = HIDDEN if SECRET(name) else repr(raw)
        problems.append(f"{name}: {str(error).rstrip('.')} (it is {shown})")
        return None


def _section_of_many(kind: Any) -> type[Section] | None:
    """Return the section that a tuple has many of, None if it is no such tuple."""
    first = (*getattr(kind, "__args__", ()), None)[0]
    return first if isinstance(first, type) and issubclass(first, Section) else None


def _split(kind: Any, raw: object) -> object:
    """Let a variable give a list as comma-separated text."""
    if isinstance(raw, str) and getattr(kind, "__origin__", None) is tuple:
        return [part.strip() for part in raw.split(",") if part.strip()]
    return raw
