"""A room's settings: one frozen struct, read from one TOML file (spec/cli.md).

Each field is a setting; its type says what is taken and its default what holds
when nobody says anything. An environment variable DDTP_<ROOM>__<SETTING> goes
before the file. A name that no field has is refused with the nearest that one has.
"""

import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from msgspec import structs

from ddtp.errors import DDTPError
from ddtp.words import nearest

T = TypeVar("T")


def read(kind: type[T], room: str, file: Path | None, environ: Mapping[str, str]) -> T:
    """Return a room's settings.

    Args:
        kind: A struct whose fields are of type str, int, bool, Path, tuple[str, ...], or
            one of them or None.
        room: The room's name, as in "provider".
        file: The TOML file, None for none; relative paths in it are relative to its folder.
        environ: The environment.

    Raises:
        DDTPError: Rule cli.10, an unknown setting, or a value that is none.
        OSError: The file cannot be read.
    """
    kinds = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    if file is not None:
        values |= _from_file(kinds, file)
    values |= _from_environment(kinds, f"DDTP_{room.upper()}__", environ)
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        # The class names what is missing or out of bounds.
        raise DDTPError("cli.10", str(error)) from error


def encode(values: object, comments: Mapping[str, str]) -> bytes:
    """Return a TOML file that says each setting of a struct, below a comment.

    Args:
        values: The struct; a field that is None stands there as a comment, as an example.
        comments: What each setting is, by its name.
    """
    lines = []
    for each in structs.fields(cast("Any", values)):
        value = getattr(values, each.name)
        said = f"{each.name} = {_literal(value)}"
        if value is None:
            said = f'# {each.name} = "{each.name}"'
        lines.append(f"# {comments[each.name]}\n{said}\n")
    return "\n".join(lines).encode()


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_literal, cast("tuple[object, ...]", value))) + "]"
    escaped = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in str(value))
    return '"' + "".join(escaped) + '"'


def _from_file(kinds: Mapping[str, Any], file: Path) -> dict[str, object]:
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DDTPError("cli.10", f"{file}: {error}") from error
    values = {
        name: _value(_known(name, kinds, str(file)), value, f"{file}: {name}")
        for name, value in given.items()
    }
    return {
        name: file.parent / value if isinstance(value, Path) else value
        for name, value in values.items()
    }


def _from_environment(
    kinds: Mapping[str, Any], prefix: str, environ: Mapping[str, str]
) -> dict[str, object]:
    values: dict[str, object] = {}
    for variable, text in environ.items():
        if variable.startswith(prefix):
            name = variable.removeprefix(prefix).lower()
            wanted = _known(name, kinds, variable)
            values[name] = _value(wanted, _parsed(wanted, text), variable)
    return values


def _known(name: str, kinds: Mapping[str, Any], where: str) -> object:
    if name not in kinds:
        meant = nearest(name, list(kinds))
        hint = f"; did you mean {meant}?" if meant else ""
        raise DDTPError("cli.10", f"{where}: there is no setting {name}{hint}")
    return kinds[name]


def _parsed(wanted: object, text: str) -> object:
    """Return the TOML value that an environment variable's text stands for."""
    wanted = _without_none(wanted)
    if wanted is int and text.removeprefix("-").isdigit() and len(text) < 20:
        return int(text)
    if wanted is bool and text in ("true", "false"):
        return text == "true"
    if typing.get_origin(wanted) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _value(wanted: object, value: object, where: str) -> object:
    wanted = _without_none(wanted)
    if wanted is Path and isinstance(value, str):
        return Path(value)
    if typing.get_origin(wanted) is tuple and isinstance(value, list):
        parts = cast("list[object]", value)
        if all(isinstance(part, str) for part in parts):
            return tuple(parts)
    if type(value) is wanted:
        return value
    name = getattr(wanted, "__name__", str(wanted))
    raise DDTPError("cli.10", f"{where}: {value!r} is not of type {name}")


def _without_none(wanted: object) -> object:
    if isinstance(wanted, types.UnionType):
        return next(part for part in typing.get_args(wanted) if part is not types.NoneType)
    return wanted
