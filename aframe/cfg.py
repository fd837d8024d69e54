"""A ``.cfg`` before law reads it: law itself meets a slip with a traceback, or overlooks it.

law reads its file while it is imported, before any code of ours; `run.sh` therefore runs
``python3 -m aframe.cfg FILE`` first.
"""

from __future__ import annotations

import codecs
import configparser
import difflib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from aframe.errors import USER_ERROR, AframeError

#: Sections that law hands to luigi, where each key must have a value.
_LUIGI = "luigi_"
#: A line of a value that was meant as a key of its own; `==`, `=?=` and `=!=` compare.
_INDENTED = re.compile(r"^([A-Za-z_]\w*)\s*=(?![=?!])", re.MULTILINE)
_REFERENCE = re.compile(r"&(?:::(?P<section>[^:]+))?::(?P<key>.+)")


class Place(NamedTuple):
    """Where a value stands."""

    section: str
    key: str

    def __str__(self) -> str:
        return f"{self.key} in [{self.section}]"


class Value(NamedTuple):
    """What a file says at a place."""

    text: str
    file: Path


Values = Mapping[Place, Value]


def main(words: list[str]) -> int:
    """Refuse the file that *words* name if law cannot use it; returns the exit status."""
    try:
        refuse_broken(words[0])
    except AframeError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return USER_ERROR
    return 0


def refuse_broken(named: str) -> None:
    """Refuse a configuration file that law cannot use as it was meant.

    Args:
        named: Path of the file; variables and ``~`` are expanded.

    Raises:
        AframeError: If the file or one that it inherits from is missing, holds a section or key
            twice, a line that is no ``key = value``, a ``%``, or a reference to nothing.
    """
    path = Path(_expand(named)).absolute()
    if not path.is_file():
        raise AframeError(
            "the configuration file is missing",
            found=f"{named} is no file",
            wanted_by="LAW_CONFIG_FILE",
            fix="correct the path, or make a run directory with aframe-init",
        )
    _values(path, above=())


def values_of(path: Path) -> Values:
    """All that the configuration file *path* says, with what it takes from others.

    Raises:
        AframeError: If law cannot use it.
    """
    return _values(Path(_expand(str(path))).absolute(), above=())


def _expand(text: str) -> str:
    return os.path.expandvars(os.path.expanduser(text))  # noqa: PTH111 (text of any kind)


def _values(path: Path, above: tuple[Path, ...]) -> dict[Place, Value]:
    """All that *path* says, with what it inherits from and is extended by.

    law follows the references of each file that it reads, and those of the whole again.
    """
    parser = _parsed(path)
    own = {
        Place(section, key): Value(_text(parser, Place(section, key), path), path)
        for section in parser.sections()
        for key in parser.options(section)
    }
    inherited: dict[Place, Value] = {}
    for file in _included(own, "inherit", above):
        inherited |= _values(file, (*above, path))
    merged = inherited | own
    for file in _included(own, "extend", above):
        merged |= _values(file, (*above, path))
    for place in merged:
        _refuse_broken_reference(place, merged)
    return merged


def _parsed(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        with path.open() as file:
            parser.read_file(file)
    except configparser.DuplicateOptionError as error:
        raise AframeError(
            "a key stands twice in its section",
            found=f"{error.option} again in line {error.lineno}",
            wanted_by=f"[{error.section}] of {path}",
            fix="leave one of the two",
        ) from error
    except configparser.DuplicateSectionError as error:
        raise AframeError(
            "a section stands twice in a configuration file",
            found=f"[{error.section}] again in line {error.lineno}",
            wanted_by=str(path),
            fix="move its keys to where it stands first",
        ) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        if path.read_bytes().startswith(codecs.BOM_UTF8):
            raise AframeError(
                "a configuration file begins with a byte order mark",
                found="the bytes EF BB BF, which some editors of Windows write",
                wanted_by=str(path),
                fix=f"save it as UTF-8 without BOM, or: sed -i '1s/^\\xEF\\xBB\\xBF//' {path}",
            ) from error
        raise AframeError(
            "a configuration file cannot be read",
            found=" ".join(str(error).split()),
            wanted_by=str(path),
            fix="write [section] lines, and key = value below them",
        ) from error
    return parser


def _text(parser: configparser.ConfigParser, place: Place, path: Path) -> str:
    raw = parser.get(*place, raw=True)
    if raw is None and place.section.startswith(_LUIGI):
        raise AframeError(
            "a line is no key = value",
            found=repr(place.key),
            wanted_by=f"[{place.section}] of {path}",
            fix="write key = value, or begin the line with # to make it a comment",
        )
    indented = _INDENTED.search("\n".join((raw or "").split("\n")[1:]))
    if indented and place.section.startswith(_LUIGI):
        raise AframeError(
            "a line that begins with a space or tab goes on with the value above it",
            found=f"{indented[1]} = … below {place.key}",
            wanted_by=f"[{place.section}] of {path}",
            fix=f"begin the line of {indented[1]} without a space",
        )
    try:
        text = parser.get(*place) or ""
    except configparser.InterpolationError:
        text = None
    # luigi expands once more what law has expanded.
    if text is None or ("%" in text and place.section.startswith(_LUIGI)):
        raise AframeError(
            "a value holds a percent sign that begins no name",
            found=f"{place.key} = {raw}",
            wanted_by=f"[{place.section}] of {path}",
            fix="write the value without %",
        )
    return text


def _included(own: Values, key: str, above: tuple[Path, ...]) -> list[Path]:
    """Files that ``[core]`` names under *key*, relative to the file that names them."""
    place = Place("core", key)
    if place not in own:
        return []
    text, path = own[place]
    names = _expand(text).split(",") if "{" not in text else []
    files = [Path(os.path.normpath(path.parent / name.strip())) for name in names if name.strip()]
    for file in files:
        if not file.is_file() or file in (*above, path):
            raise AframeError(
                "a configuration cannot be taken from another file",
                found=f"{file} is this file or above it"
                if file.is_file()
                else f"{file} is no file",
                wanted_by=f"{key} in [core] of {path}",
                fix="correct the path, which is relative to this file",
            )
    return files


def _refuse_broken_reference(place: Place, values: Values) -> None:
    """Follow ``&::section::key`` from *place* until it ends at a value."""
    seen = [place]
    while target := _referred_to(seen[-1], values):
        here = values[seen[-1]]
        if target in seen:
            circle = " -> ".join(str(each) for each in (*seen, target))
            raise _broken("references run in a circle", circle, seen[-1], here, "give one a value")
        if target not in values:
            raise _broken(
                "a reference leads to nothing",
                f"{here.text.strip()}, but there is no {target}",
                seen[-1],
                here,
                _nearest(target, values),
            )
        seen.append(target)


def _referred_to(place: Place, values: Values) -> Place | None:
    found = _REFERENCE.fullmatch(_expand(values[place].text))
    return Place(found["section"] or place.section, found["key"]) if found else None


def _broken(problem: str, found: str, place: Place, value: Value, fix: str) -> AframeError:
    return AframeError(problem, found=found, wanted_by=f"{place} of {value.file}", fix=fix)


def _nearest(target: Place, values: Iterable[Place]) -> str:
    names = {f"&::{place.section}::{place.key}" for place in values}
    near = difflib.get_close_matches(f"&::{target.section}::{target.key}", names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"refer to a key of this file or of those it names{hint}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
