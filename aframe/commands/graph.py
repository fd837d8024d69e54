"""`aframe graph`: the steps of a run and what each would do, as an SVG picture."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from aframe.artifacts.record import write_text
from aframe.commands.run_directory import RunDirectory
from aframe.commands.words import COLORS
from aframe.errors import AframeError
from aframe.tasks.outlook import STATES, Outlook, outlooks

# Sizes (px): of a box and the lane of an arrow, between layers and boxes, round all and in a box.
_HEIGHT, _LANE, _BETWEEN_LAYERS, _BETWEEN, _MARGIN, _TOP = 44, 8, 56, 16, 24, 96
_PAD, _LETTER = 14, 7.4
_SWEEPS = 8
_LONGEST = 34


def run(run_directory: RunDirectory, asked: Any, options: Sequence[str]) -> int:
    """Print the picture, or write it where it is asked for."""
    with run_directory.task_to_run(options) as task:
        text = picture(f"{task.task_family} in {run_directory.path}", outlooks(task))
    if asked.output is None:
        sys.stdout.write(text)
    else:
        _write(asked.output.expanduser().absolute(), text)
        sys.stderr.write(f"wrote {asked.output}\n")
    return 0


def _write(path: Path, text: str) -> None:
    try:
        if path.is_file() and _head(path) not in (b"", b"<svg"):
            raise AframeError(
                "a file that is no picture of a run is in the way",
                found=str(path),
                wanted_by="--output",
                fix="move it away, or give another file",
            )
        write_text(path, text)
    except OSError as error:
        raise AframeError(
            "the picture cannot be written",
            found=f"{error.strerror}: {path}",
            wanted_by="--output",
            fix="give a file in a folder that is there and may be written to",
        ) from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def layers(found: Sequence[Outlook]) -> tuple[list[list[str]], list[list[str]]]:
    """Lay steps out in layers, each step as late as what rests on it allows, with few crossings.

    An arrow over several layers has a place of its own in each between, so that it passes no box.
    Each layer is sorted by the mean place of its neighbors, down and up in turns
    (Sugiyama, Tagawa & Toda, IEEE Trans. SMC 11 (1981) 109).

    Returns:
        Names in each layer, those of passing arrows among them, and what each arrow passes.
    """
    above = {each.name: [o.name for o in found if each.name in o.rests_on] for each in found}
    late: dict[str, int] = {}
    for each in reversed(found):
        late[each.name] = 1 + max((late[name] for name in above[each.name]), default=-1)
    last = max(late.values())
    rows: list[list[str]] = [[] for _ in range(last + 1)]
    for name, steps in late.items():
        rows[last - steps].append(name)
    arrows = [
        _passing(name, each.name, last, late, rows) for each in found for name in each.rests_on
    ]
    for sweep in range(_SWEEPS):
        _sort(rows, arrows, down=sweep % 2 == 0)
    return rows, arrows


def _passing(
    first: str, second: str, last: int, late: Mapping[str, int], rows: Sequence[list[str]]
) -> list[str]:
    """Give an arrow its place in each layer that it passes."""
    between = range(last - late[first] + 1, last - late[second])
    names = [f"{first} > {second} @{layer}" for layer in between]
    for layer, name in zip(between, names, strict=True):
        rows[layer].append(name)
    return [first, *names, second]


def _sort(rows: Sequence[list[str]], arrows: Sequence[Sequence[str]], *, down: bool) -> None:
    """Sort each layer by the mean place of those before it, or after it."""
    links = [pair for arrow in arrows for pair in pairwise(arrow)]
    place = {name: (i + 0.5) / len(row) for row in rows for i, name in enumerate(row)}
    for row in rows if down else reversed(rows):
        near = {name: [a if down else b for a, b in links if (b if down else a) == name]
                for name in row}  # fmt: skip
        wanted = {name: _mean([place[each] for each in near[name]], place[name]) for name in row}
        row.sort(key=wanted.__getitem__)
        place |= {name: (i + 0.5) / len(row) for i, name in enumerate(row)}


def _mean(places: Sequence[float], own: float) -> float:
    return sum(places) / len(places) if places else own


class Place(NamedTuple):
    """Where a box lies, or an arrow passes (px)."""

    x: float
    y: float
    width: float
    height: float


def _places(rows: Sequence[Sequence[str]], found: Sequence[Outlook]) -> dict[str, Place]:
    """Where each lies: the layers from left to right, each in the middle of the tallest."""
    width = {each.name: _PAD * 2 + _LETTER * max(len(each.name), len(_detail(each)))
             for each in found}  # fmt: skip
    height = {name: _HEIGHT if name in width else _LANE for row in rows for name in row}
    tall = [sum(height[name] + _BETWEEN for name in row) - _BETWEEN for row in rows]
    places: dict[str, Place] = {}
    x = float(_MARGIN)
    for row, own in zip(rows, tall, strict=True):
        y, widest = _TOP + (max(tall) - own) / 2, max(width.get(name, 0.0) for name in row)
        for name in row:
            places[name] = Place(x, y, width.get(name, widest), height[name])
            y += height[name] + _BETWEEN
        x += widest + _BETWEEN_LAYERS
    return places


def picture(title: str, found: Sequence[Outlook]) -> str:
    """Draw the steps, each in the color of its state, what comes first on the left."""
    rows, arrows = layers(found)
    places = _places(rows, found)
    width = max(760.0, *(place.x + place.width + _MARGIN for place in places.values()))
    height = max(place.y + place.height + _MARGIN for place in places.values())
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([
        head,
        f"<title>{html.escape(title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="36" font-size="17" font-weight="bold">{html.escape(title)}</text>',
        *_legend(found),
        *(_arrow([places[name] for name in arrow]) for arrow in arrows),
        *(_box(each, places[each.name]) for each in found),
        "</svg>\n",
    ])  # fmt: skip


def _legend(found: Sequence[Outlook]) -> Iterator[str]:
    x = _MARGIN
    for state in STATES:
        count = sum(each.state == state for each in found)
        yield f'<rect x="{x}" y="54" width="16" height="16" rx="3" fill="{COLORS[state][1]}"/>'
        yield f'<text x="{x + 22}" y="67">{state} ({count})</text>'
        x += 118


def _arrow(passed: Sequence[Place]) -> str:
    """Draw an arrow from the right of the first box to the left of the last."""
    path = f"M{passed[0].x + passed[0].width:.1f} {passed[0].y + passed[0].height / 2:.1f}"
    for before, after in pairwise(passed):
        x1, y1 = before.x + before.width, before.y + before.height / 2
        x2, y2 = after.x, after.y + after.height / 2
        middle = (x1 + x2) / 2
        path += f" C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
        if after is not passed[-1]:
            path += f" H{x2 + after.width:.1f}"
    return (
        f'<path d="{path}" fill="none" stroke="#9aa0a6" stroke-width="1.5"/>'
        f'<path d="M{x2:.1f} {y2:.1f} l-8 -4 v8 z" fill="#9aa0a6"/>'
    )


def _box(each: Outlook, at: Place) -> str:
    color, detail = COLORS[each.state][1], _detail(each)
    frame = (
        f'<rect x="{at.x:.1f}" y="{at.y:.1f}" width="{at.width:.1f}" height="{at.height}" rx="6" '
        f'fill="{color}" fill-opacity="0.12" stroke="{color}" stroke-width="2"/>'
    )
    name_at = at.y + (18 if detail else 27)
    lines = [
        "<g>",
        f"<title>{html.escape('; '.join([each.state, *each.reasons]))}</title>",
        frame,
        (f'<text x="{at.x + _PAD:.1f}" y="{name_at:.1f}" font-weight="bold">'
        f"{html.escape(each.name)}</text>"),
    ]  # fmt: skip
    if detail:
        lines.append(
            f'<text x="{at.x + _PAD:.1f}" y="{at.y + 35:.1f}" font-size="11" fill="#444444">'
            f"{html.escape(detail)}</text>"
        )
    return "\n".join([*lines, "</g>"])


def _detail(each: Outlook) -> str:
    """The first reason, cut to what a box holds; all stand in its tooltip."""
    text = next(iter(each.reasons), "")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
