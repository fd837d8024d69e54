"""luigi parameters in the field's terms and units.

A *shared* parameter stands once, in ``[luigi_base]`` of the ``.cfg``: every task that
declares it reads it there, unless its own section or the command line says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import law
import luigi

from aframe.errors import AframeError

#: Section of luigi's configuration that ``[luigi_base]`` becomes.
BASE_SECTION = "base"

Value = TypeVar("Value")


class _Shared(luigi.Parameter):
    """A parameter that falls back to ``[luigi_base]`` before its default."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # A pipeline's --help describes the parameters of all its tasks.
        super().__init__(*args, **{"always_in_help": True, **kwargs})

    def _get_value(self, task_name: str, param_name: str) -> Any:
        try:
            return super()._get_value(task_name, param_name)
        except AframeError as error:
            raise AframeError(
                error.problem,
                found=f"{param_name} = {error.found}",
                wanted_by=f"[luigi_{task_name}] or [luigi_{BASE_SECTION}] of the .cfg",
                fix=error.fix,
            ) from error

    def _value_iterator(self, task_name: str, param_name: str) -> Iterator[tuple[Any, Any]]:
        *own, default = super()._value_iterator(task_name, param_name)
        yield from own
        yield self._get_value_from_config(BASE_SECTION, param_name), None
        yield default


class Text(_Shared):
    """Any text."""


class Integer(_Shared, luigi.IntParameter):
    """A whole number."""


class Number(_Shared, luigi.FloatParameter):
    """A number that may be negative, such as a GPS time (s)."""

    def parse(self, x: str) -> float:
        """Parse *x*; refuse what is not a number."""
        try:
            return float(x)
        except ValueError as error:
            raise _refused(x, "a number", self.description) from error


class OptionalNumber(Number):
    """A number, or blank for none."""

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

    def parse(self, x: str) -> float:
        """Parse *x*; refuse zero and below."""
        value = super().parse(x)
        if not value > 0:
            raise _refused(x, "a number above zero", self.description)
        return value


class OptionalPositive(Positive):
    """A number above zero, or blank for none."""

    def parse(self, x: str) -> float | None:  # type: ignore[override]
        """Parse *x*; blank and ``null`` mean none."""
        return None if _is_blank(x) else super().parse(x)

    def serialize(self, x: float | None) -> str:
        """Write the value as a ``.cfg`` holds it."""
        return "" if x is None else super().serialize(x)

    def _warn_on_wrong_param_type(self, _name: str, _value: object) -> None:
        """Accept ``None``, which luigi's numbers warn of."""


class Detectors(_Shared, law.CSVParameter):
    """Detectors in channel order, comma-separated, such as ``H1,L1``."""

    def parse(self, inp: Any) -> tuple[str, ...]:
        """Parse *inp*; refuse a repeated or nameless detector."""
        names = tuple(str(name).strip() for name in super().parse(inp))
        if not names or len(set(names)) != len(names) or not all(names):
            raise _refused(str(inp), "detectors such as H1,L1, each once", self.description)
        return names


class Numbers(_Shared, law.CSVParameter):
    """Numbers, comma-separated, such as ``0,1``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, cls=luigi.FloatParameter, **kwargs)


class Pairs(_Shared, luigi.ListParameter):
    """Pairs of numbers as JSON, such as ``[[35, 35], [20, 20]]``."""


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
    ``{"kind": "files", "paths": ["/data/H-*.hdf5", …]}`` reads local files.
    """

    kinds = ("simulated", "files")

    def parse(self, source: str) -> Any:
        """Parse *source*; refuse an unknown kind."""
        try:
            content = json.loads(source)
            known = content["kind"] in self.kinds
        except (ValueError, KeyError, TypeError) as error:
            raise _refused(source, "JSON with a kind", self.description) from error
        if not known:
            raise _refused(source, f"one of the kinds {', '.join(self.kinds)}", self.description)
        return super().parse(source)


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


def _refused(value: str, right: str, description: str | None) -> AframeError:
    return AframeError(
        "a parameter cannot be used",
        found=repr(value),
        wanted_by=f"the parameter described as: {description}",
        fix=f"give {right}, on the command line or in the .cfg",
    )
