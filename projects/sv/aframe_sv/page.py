"""The page: sections of text, tables and figures, rendered into one file of HTML."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import jinja2
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerLine2D
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter

#: Colors of the detectors, as gwpy and the papers of the field have them.
IFO_COLORS = {"H1": "#d62728", "L1": "#2b8cd6", "V1": "#9b59b6", "K1": "#e0a000", "G1": "#333333"}
#: Colors that readers of any color vision tell apart (Okabe and Ito), from blue on.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "D", "^", "v", "P")
INK, FAINT = "#20252b", "#8a939c"
#: Width and height that stay readable on a phone, where a figure is as wide as the screen.
SIZE = (5.2, 3.3)
#: Room for a legend between plot and title, and for each of its rows (points).
_PAD, _ROW = 8.0, 12.0
#: A space that must not end a line: between a number and its unit or its mark.
_BOUND = re.compile(r"(?<=\d) (?=[^\W\d])|(?<=[≲≥≈±]) (?=[\d≈])")
#: Images of points: how they are packed, and their dots an inch, more than a screen's.
_WEBP, _DPI = {"quality": 75, "method": 6}, 120
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": "#e3e6e9",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "path.simplify_threshold": 0.3,
    "savefig.dpi": 160,
    "svg.fonttype": "path",
    # Names inside the SVG come from their content, so that the same plot has the same bytes.
    "svg.hashsalt": "aframe",
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
}


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Args:
        content: The figure itself.
        caption: What a reader sees in it, in a sentence.
        alt: What the figure shows, for those who cannot see it.
        media: Media type of the content.
    """

    content: bytes
    caption: str
    alt: str
    media: str = "image/svg+xml"

    @property
    def address(self) -> str:
        """The figure as an address that holds all of it."""
        return f"data:{self.media};base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Args:
        columns: Its header.
        rows: Its cells.
        caption: What it lists, in a sentence.
        emphasize: Number of rows at the top that stand out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    emphasize: int = 0


@dataclass(frozen=True)
class Fold:
    """Detail that a reader opens.

    Args:
        title: What is inside.
        tables: The detail.
        pictures: Figures after the tables.
        group: Folds of one group are open one at a time; of none, each for itself.
        opened: Whether it is open at first.
    """

    title: str
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    group: str = ""
    opened: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page with its own heading.

    Args:
        name: Anchor of the section.
        title: Its heading.
        paragraphs: What it says first.
        notices: What a reader must not miss.
        facts: Numbers at a glance: what, value.
        tables: Tables after the text.
        pictures: Figures after the tables.
        folds: Detail at the end.
    """

    name: str
    title: str
    paragraphs: Sequence[str] = ()
    notices: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    folds: Sequence[Fold] = field(default=())

    @property
    def count(self) -> int:
        """Number of figures, with those in folds."""
        return len(self.pictures) + sum(len(fold.pictures) for fold in self.folds)


@contextmanager
def axes(
    size: tuple[float, float] = SIZE, *, margins: Mapping[str, float] | None = None
) -> Iterator[Axes]:
    """Open one plot in the style of the page, see :func:`stacked`."""
    with stacked(1, size, margins=margins) as (ax,):
        yield ax


@contextmanager
def stacked(
    rows: int,
    size: tuple[float, float] = SIZE,
    *,
    share: bool = True,
    margins: Mapping[str, float] | None = None,
) -> Iterator[list[Axes]]:
    """Open plots in the style of the page, one above the other.

    Args:
        rows: Number of plots.
        size: Width and height of the figure (inches).
        share: Whether they share their abscissa.
        margins: Where the plots end (``left``, ``right``, ``bottom``, ``top``, as shares of the
            figure; ``hspace`` between them). By default they are fitted to what is drawn, for
            which it is drawn three times.
    """
    # It has matplotlib draw logarithmic axes in its way, and some sections need its transforms: no
    # other may look different for that. It takes seconds to import.
    import gwpy.plot  # noqa: F401, PLC0415

    with mpl.rc_context():
        # Not the reader's own style: the page looks the same wherever it is made.
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]  # its keys are literals
        figure = Figure(figsize=size, layout=None if margins else "constrained")
        grid = dict(margins) if margins else None
        plots = figure.subplots(rows, sharex=share, squeeze=False, gridspec_kw=grid)
        yield list(plots[:, 0])


def legend(ax: Axes, *, columns: int = 4, title: str | None = None) -> None:
    """Put the legend above the plot, where it hides nothing, and a title above the legend."""
    drawn = ax.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        borderpad=0.2,
        columnspacing=1.4,
        handlelength=1.6,
        title=title,
        title_fontsize=mpl.rcParams["legend.fontsize"],
        alignment="left",
        # gwpy has all lines drawn as bars, dashed or not.
        handler_map={Line2D: HandlerLine2D()},
    )
    if ax.get_title():
        rows = -(-len(drawn.get_texts()) // columns)
        ax.set_title(ax.get_title(), pad=_PAD + _ROW * rows)


def label_plainly(axis: Axis, ticks: Sequence[float]) -> None:
    """Label a logarithmic axis at *ticks* with plain numbers."""
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def picture(ax: Axes, *, caption: str, alt: str, points: bool = False) -> Picture:
    """Draw the figure of *ax*; the same content gives the same bytes.

    Args:
        ax: One of its plots.
        caption: What a reader sees in it, in a sentence.
        alt: What the figure shows, for those who cannot see it.
        points: Whether it is kept as points of an image, which many curves or marks make no larger.
    """
    file = io.BytesIO()
    figure = ax.get_figure(root=True)
    if points:
        figure.savefig(file, format="webp", dpi=_DPI, pil_kwargs=_WEBP)  # type: ignore[union-attr]
        return Picture(file.getvalue(), caption, alt, "image/webp")
    figure.savefig(file, format="svg", metadata={"Date": None})  # type: ignore[union-attr]
    return Picture(file.getvalue(), caption, alt)


def bound(text: str) -> str:
    r"""Keep numbers on one line with their units.

    Example:
        >>> bound("≈ 896 ± 60 Mpc at 1024 Hz").split(" ")
        ['≈\xa0896', '±\xa060\xa0Mpc', 'at', '1024\xa0Hz']
    """
    return _BOUND.sub("\u00a0", text)


def ifo_color(ifo: str) -> str:
    """Color of a detector."""
    return IFO_COLORS.get(ifo, INK)


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Make the page: one file that needs no other and no network."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["bound"] = bound
    template = (resources.files("aframe_sv") / "template.html").read_text(encoding="utf-8")
    page = environment.from_string(template)
    return page.render(title=title, subtitle=subtitle, sections=sections)
