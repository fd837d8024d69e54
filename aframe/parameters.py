"""luigi parameters in the field's terms and units.

A *shared* parameter stands once, in ``[luigi_base]`` of the ``.cfg``: every task that
declares it reads it there, unless its own section or the command line says otherwise.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import law
import luigi

from aframe import site
from aframe.errors import AframeError
from aframe.sources import KEYS

#: Section of luigi's configuration that ``[luigi_base]`` becomes.
BASE_SECTION = "base"
#: The prefix of a detector.
_DETECTOR = re.compile(r"[A-Z]\d")
#: The number or the name of a GPU, as CUDA and ``nvidia-smi -L`` have them.
_GPU = re.compile(r"\d+|(GPU|MIG)-[\w/-]+")
#: Units of sizes, in MiB.
_MIB = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}


class _RefusedError(AframeError):
    """A value is none of what a parameter takes; which parameter that is, its caller knows."""


class _Shared(luigi.Parameter):
    """A parameter that falls back to ``[luigi_base]`` before its default."""

    #: What :meth:`parse` takes.
    takes = "text"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # A pipeline's --help describes the parameters of all its tasks.
        super().__init__(*args, **{"always_in_help": True, **kwargs})

    def parse(self, x: str) -> Any:
        """Parse *x*; refuse what this parameter does not take."""
        try:
            return super().parse(x)
        except (ValueError, TypeError, csv.Error) as error:
            raise self.refused(x) from error

    def refused(self, value: str) -> AframeError:
        """The error for a *value* that is none of what this parameter takes."""
        # luigi knows it once the parameter is a task's.
        name = getattr(self, "_attribute_name", None)
        return _RefusedError(
            "a parameter cannot be used",
            found=repr(value),
            wanted_by=f"--{name.replace('_', '-')}"
            if name
            else f"the parameter described as: {self.description}",
            fix=f"give {self.takes}, on the command line or in the .cfg",
        )

    def _get_value(self, task_name: str, param_name: str) -> Any:
        try:
            return super()._get_value(task_name, param_name)
        except _RefusedError as error:
            option = f"--{task_name}-{param_name.replace('_', '-')}"
            raise AframeError(
                error.problem,
                found=f"{param_name} = {error.found}",
                wanted_by=f"{option}, [luigi_{task_name}] or [luigi_{BASE_SECTION}] of the .cfg",
                fix=error.fix,
            ) from error

    def _value_iterator(self, task_name: str, param_name: str) -> Iterator[tuple[Any, Any]]:
        *own, default = super()._value_iterator(task_name, param_name)
        yield from own
        of_site = site.value(task_name, param_name)
        if of_site is not None:
            yield self._parsed(param_name, *of_site), None
        yield self._get_value_from_config(BASE_SECTION, param_name), None
        yield default

    def _parsed(self, param_name: str, text: str, place: str) -> Any:
        """Parse what a site says, and tell of it as the site's where it cannot be used."""
        try:
            return self.parse(text)
        except AframeError as error:
            raise AframeError(
                error.problem, found=f"{param_name} = {text!r}", wanted_by=place, fix=error.fix
            ) from error


class Text(_Shared):
    """Any text."""


class Flag(_Shared, luigi.BoolParameter):
    """``True`` or ``False``; as an option of a command it needs no value."""

    takes = "True or False"


class Choice(_Shared, luigi.ChoiceParameter):
    """One of a closed set of words."""

    def __init__(self, *args: Any, choices: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, choices=choices, **kwargs)
        self.takes = f"one of {', '.join(choices)}"


class Integer(_Shared, luigi.IntParameter):
    """A whole number."""

    takes = "a whole number"


class Count(Integer):
    """A whole number above zero."""

    takes = "a whole number above zero"

    def parse(self, x: str) -> int:
        """Parse *x*; refuse zero and below."""
        value = super().parse(x)
        if value <= 0:
            raise self.refused(x)
        return value


class Natural(Integer):
    """A whole number above zero, or zero."""

    takes = "a whole number, not negative"

    def parse(self, x: str) -> int:
        """Parse *x*; refuse what is below zero."""
        value = super().parse(x)
        if value < 0:
            raise self.refused(x)
        return value


class Seed(Natural):
    """The seed of random streams."""


class Number(_Shared, luigi.FloatParameter):
    """A number that may be negative, such as a GPS time (s)."""

    takes = "a number"

    def parse(self, x: str) -> float:
        """Parse *x*; refuse what is not a number, NaN among it."""
        value = super().parse(x)
        if math.isnan(value):
            raise self.refused(x)
        return value


class OptionalNumber(Number):
    """A number, or blank for none."""

    takes = "a number, or nothing"

    def parse(self, x: str) -> float | None:  # type: ignore[override]
        """Parse *x*; blank and ``null`` mean none."""
        return None if _is_blank(x) else super().parse(x)

    def serialize(self, x: float | None) -> str:
        """Write the value as a ``.cfg`` holds it."""
        return "" if x is None else super().serialize(x)

    def _warn_on_wrong_param_type(self, _name: str, _value: object) -> None:
        """Accept ``None``, which luigi's numbers warn of."""


class Positive(Number):
    """A number above zero: a length (s), a rate (Hz)."""

    takes = "a number above zero"

    def parse(self, x: str) -> float:
        """Parse *x*; refuse zero and below."""
        value = super().parse(x)
        if value <= 0:
            raise self.refused(x)
        return value


class OptionalPositive(Positive):
    """A number above zero, or blank for none."""

    takes = "a number above zero, or nothing"

    def parse(self, x: str) -> float | None:  # type: ignore[override]
        """Parse *x*; blank and ``null`` mean none."""
        return None if _is_blank(x) else super().parse(x)

    def serialize(self, x: float | None) -> str:
        """Write the value as a ``.cfg`` holds it."""
        return "" if x is None else super().serialize(x)

    def _warn_on_wrong_param_type(self, _name: str, _value: object) -> None:
        """Accept ``None``, which luigi's numbers warn of."""


class Size(_Shared):
    """Room in memory or on a disk, as HTCondor writes it: ``4GB``; a number alone is in MB."""

    takes = "a number with its unit, such as 512MB or 4GB"
    _known = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]?)i?B?", re.IGNORECASE)

    def parse(self, x: str) -> int:
        """Parse *x* to MiB; refuse what is no size, or none of 1 MiB at least."""
        read = self._known.fullmatch(x.strip())
        size = round(float(read[1]) * _MIB[read[2].upper()]) if read else 0
        if size < 1:
            raise self.refused(x)
        return size

    def serialize(self, x: int) -> str:
        """Write the size as a ``.cfg`` holds it."""
        return f"{x}MB"

    def _warn_on_wrong_param_type(self, _name: str, _value: object) -> None:
        """Accept numbers, which luigi's text warns of."""


class Detectors(_Shared, law.CSVParameter):
    """Detectors in channel order, comma-separated, such as ``H1,L1``."""

    takes = "detectors such as H1,L1, each once"

    def parse(self, inp: Any) -> tuple[str, ...]:
        """Parse *inp*; refuse a repeated detector, and what is no letter and digit."""
        names = tuple(str(name).strip() for name in super().parse(inp))
        if not names or len(set(names)) != len(names) or not all(map(_DETECTOR.fullmatch, names)):
            raise self.refused(str(inp))
        return names


class Gpus(_Shared):
    """GPUs by number or name, comma-separated, such as ``0,1``; or blank."""

    takes = "numbers of GPUs such as 0,1, each once"

    def parse(self, x: str) -> str:
        """Parse *x*; refuse what names no GPU, or one twice."""
        names = [name.strip() for name in x.split(",")] if x.strip() else []
        if len(set(names)) != len(names) or not all(map(_GPU.fullmatch, names)):
            raise self.refused(x)
        return ",".join(names)


class Numbers(_Shared, law.CSVParameter):
    """Numbers, comma-separated, such as ``0,1``."""

    takes = "numbers such as 0,1"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, cls=luigi.FloatParameter, **kwargs)


class Words(_Shared, law.CSVParameter):
    """Words, comma-separated, or blank for none."""

    takes = "words such as GW190521_030229,GW190602_175927"

    def parse(self, inp: Any) -> tuple[str, ...]:
        """Parse *inp*; refuse a place between commas that is empty."""
        words = tuple(str(word).strip() for word in super().parse(inp))
        if not all(words):
            raise self.refused(str(inp))
        return words


class Pairs(_Shared, luigi.ListParameter):
    """Pairs of numbers as JSON, such as ``[[35, 35], [20, 20]]``."""

    takes = "pairs of numbers as JSON, such as [[35, 35], [20, 20]]"

    def parse(self, x: str) -> Any:
        """Parse *x*; refuse what holds anything but pairs of numbers."""
        pairs = super().parse(x)
        if not pairs or not all(_is_pair(each) for each in pairs):
            raise self.refused(x)
        return pairs


class Rates(_Shared, luigi.DictParameter):
    """Numbers above zero by name as JSON, such as ``{"BBH": 28.0}``."""

    takes = 'numbers above zero by name as JSON, such as {"BBH": 28.0}'

    def parse(self, source: str) -> Any:
        """Parse *source*; refuse what holds anything but such numbers."""
        content = super().parse(source)
        numbers = content.values() if isinstance(content, Mapping) else ()
        if not numbers or not all(isinstance(each, (int, float)) and each > 0 for each in numbers):
            raise self.refused(source)
        return content


class PathParameter(_Shared):
    """A path; ``~`` and variables are expanded. Blank stands for the run directory's own."""

    def parse(self, x: str) -> Path | None:
        """Parse *x*; blank means none."""
        return Path(x).expanduser() if x.strip() else None

    def serialize(self, x: Path | None) -> str:
        """Write the path as text."""
        return "" if x is None else str(x)

    def _warn_on_wrong_param_type(self, _name: str, _value: object) -> None:
        """Accept paths, which luigi's text warns of."""


class Source(_Shared, luigi.DictParameter):
    """Where strain comes from, as JSON: a ``kind`` and what that kind needs.

    ``{"kind": "simulated", "psds": {"H1": "aLIGOO3LowT1800545", …}}`` colours Gaussian noise;
    ``{"kind": "files", "paths": ["/data/H-*.hdf5", …]}`` reads local files; ``{"kind": "gwosc"}``
    takes open data, ``{"kind": "datafind", …}`` and ``{"kind": "nds2", …}`` ask LVK's servers.
    """

    takes = f"JSON with a kind, one of {', '.join(KEYS)}"

    def parse(self, source: str) -> Any:
        """Parse *source*; refuse an unknown kind."""
        content = super().parse(source)
        if not isinstance(content, Mapping) or content.get("kind") not in KEYS:
            raise self.refused(source)
        # Here, since in an image the home is another.
        paths = {name: _at_home(content[name]) for name in ("paths", "psds") if name in content}
        return {**content, **paths}


def _at_home(value: Any) -> Any:
    """Expand ``~`` in a path, or in all that *value* holds."""
    if isinstance(value, str):
        return os.path.expanduser(value)  # noqa: PTH111 (the name of a curve is no path)
    if isinstance(value, Mapping):
        return {name: _at_home(each) for name, each in value.items()}
    if isinstance(value, Sequence):
        return [_at_home(each) for each in value]
    return value


class OptionalSource(Source):
    """A source of strain, or blank for none."""

    def parse(self, source: str) -> Any:
        """Parse *source*; blank means none."""
        return super().parse(source) if source.strip() else None

    def serialize(self, x: Any) -> str:
        """Write the source as JSON."""
        return "" if x is None else super().serialize(x)


def _is_blank(text: str) -> bool:
    return text.strip().lower() in {"", "null", "none"}


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and len(value) == 2  # noqa: PLR2004 (that is what a pair is)
        and all(isinstance(item, (int, float)) for item in value)
    )
