"""The page and its plots."""

import base64
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerPatch
from matplotlib.lines import Line2D

from aframe_sv.page import (
    Fold,
    Picture,
    Section,
    Table,
    axes,
    bound,
    ifo_color,
    label_plainly,
    legend,
    picture,
    render,
    stacked,
)


def plot():
    """A small plot."""
    with axes() as ax:
        ax.plot([0, 1], [0, 1], label="line")
        ax.legend()
        return picture(ax, caption="A line.", alt="It rises.")


class Words(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Keep text."""
        self.text.append(data.strip())

    def all(self, tag):
        """Attributes of each tag of a kind."""
        return [attrs for name, attrs in self.tags if name == tag]


SECTION = Section(
    "one",
    "First",
    paragraphs=["Some text."],
    notices=["Careful."],
    facts=[("Number", "7")],
    tables=[Table(("a", "b"), [("1", "2"), ("3", "4")], "Two rows.", emphasize=1)],
    pictures=[Picture(b"<svg/>", "What to see.", "What is there.")],
    folds=[
        Fold("More", [Table(("c",), [("5",)])]),
        Fold("Choose", pictures=[Picture(b"x", "A map.", "Dots.", "image/webp")], group="g"),
        Fold("Chosen", group="g", opened=True),
    ],
)


def test_page_shows_all_of_a_section():
    """Heading, text, notice, facts, tables, figures and folds, and a table of contents."""
    words = Words(render("My run", "sub", [SECTION, Section("two", "Second")]))

    expected = ["My run", "sub", "First", "Some text.", "Careful.", "Number", "7", "Two rows."]
    for text in [*expected, "1", "4", "More", "5", "What to see."]:
        assert text in words.text
    assert {"href": "#one"} in words.all("a")
    assert {"href": "#two"} in words.all("a")
    assert [each["id"] for each in words.all("section")] == ["one", "two"]
    assert words.all("img")[0]["alt"] == "What is there."
    assert words.all("html") == [{"lang": "en"}]
    assert [row for row in words.all("tr") if row.get("class") == "loud"] == [{"class": "loud"}]


def test_text_cannot_become_markup():
    """A title with angle brackets stays text."""
    page = render("<script>alert(1)</script>", "a & b", [Section("s", "t", ["<b>bold</b>"])])

    assert "<script" not in page
    assert "<b>" not in page
    assert "a &amp; b" in page


def test_figure_carries_its_drawing():
    """The address of a figure holds the figure."""
    drawn = plot()

    head, _, body = drawn.address.partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(body) == drawn.content
    assert drawn.content.rstrip().endswith(b"</svg>")


def test_folds_hold_figures_and_close_one_another():
    """Those of a group share a name, which browsers take for a choice of one."""
    words = Words(render("t", "s", [SECTION]))

    assert words.all("details") == [{}, {"name": "g"}, {"name": "g", "open": None}]
    assert words.all("img")[1] == {"src": "data:image/webp;base64,eA==", "alt": "Dots."}


def test_a_plot_of_many_marks_is_kept_as_points():
    """Ten times as many marks make an image no larger than twice, and the same twice."""

    def marks(count):
        with axes() as ax:
            ax.plot(*np.random.default_rng(1).normal(size=(2, count)), ".")
            return picture(ax, caption="Dots.", alt="A cloud.", points=True)

    few, many = marks(300), marks(3000)
    assert few.address.startswith("data:image/webp;base64,")
    assert len(many.content) < 2 * len(few.content)
    assert many.content == marks(3000).content


def test_same_plot_has_the_same_bytes():
    """No date and no chance is in a figure."""
    assert plot().content == plot().content


def test_the_readers_own_style_changes_nothing():
    """Whatever matplotlib is told elsewhere, the page looks the same; and it tells no one else."""
    before = plot().content
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30}):
        assert plot().content == before
        assert mpl.rcParams["font.size"] == 30


def test_stacked_plots_share_their_abscissa_unless_told():
    """Strain of several detectors has one time; segments of several years have not."""
    for share in (True, False):
        with stacked(2, share=share) as (upper, lower):
            upper.set_xlim(0, 5)
            assert (lower.get_xlim() == (0, 5)) is share


def test_plain_labels_are_numbers():
    """A logarithmic axis reads 4, 10, 100 and not powers of ten."""
    with axes() as ax:
        ax.set(xscale="log", xlim=(3, 200))
        label_plainly(ax.xaxis, [4, 10, 100])
        ax.figure.canvas.draw()

        assert [label.get_text() for label in ax.get_xticklabels()] == ["4", "10", "100"]
        assert not any(label.get_text() for label in ax.get_xticklabels(minor=True))


@pytest.mark.parametrize("title", ["", "A title"])
@pytest.mark.parametrize(("lines", "columns"), [(1, 4), (4, 2)])
def test_a_legend_hides_neither_plot_nor_title(title, lines, columns):
    """It stands above the plot and below its title, within the figure."""
    with axes() as ax:
        for number in range(lines):
            ax.plot([0, 1], [0, number], label=f"line {number}")
        ax.set_title(title)
        legend(ax, columns=columns, title="lines")
        ax.figure.draw_without_rendering()
        placed = ax.get_legend().get_window_extent()

        assert not placed.overlaps(ax.bbox)
        assert ax.bbox.y1 <= placed.y0 < placed.y1 <= ax.figure.bbox.y1
        if title:
            assert not placed.overlaps(ax.title.get_window_extent())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("1126259462.44 ± 0.03 s", ["1126259462.44", "±\u00a00.03\u00a0s"]),
        ("1.5 s at 1024 Hz", ["1.5\u00a0s", "at", "1024\u00a0Hz"]),
        ("≲ 1 per 22.9 hours", ["≲\u00a01\u00a0per", "22.9\u00a0hours"]),
        ("2015-09-14 09:50:45.44", ["2015-09-14", "09:50:45.44"]),
    ],
)
def test_a_number_stays_with_its_unit(text, lines):
    """Lines end between numbers, never between a number and its unit or mark."""
    assert bound(text).split(" ") == lines


def test_a_long_name_may_break_after_its_underscores_only():
    """Elsewhere the browser has no reason to break it; what is markup in it stays text."""
    page = render("t", "s", [Section("s", "t", facts=[("Population", "log_<b>_bbh")])])

    assert "<dd>log_<wbr>&lt;b&gt;_<wbr>bbh</dd>" in page
    assert "overflow-wrap: break-word" in page[page.index(".facts dd") :].split("}")[0]


def test_a_legend_shows_lines_as_they_are_drawn(monkeypatch):
    """Whatever another library has legends show for them."""
    monkeypatch.setitem(Legend.get_default_handler_map(), Line2D, HandlerPatch())
    with axes() as ax:
        ax.plot([0, 1], [0, 1], "--", label="dashed")
        legend(ax)

        (handle,) = ax.get_legend().legend_handles
        assert isinstance(handle, Line2D)
        assert handle.get_linestyle() == "--"


@pytest.mark.parametrize(("ifo", "color"), [("H1", "#d62728"), ("X1", "#20252b")])
def test_detectors_have_their_color(ifo, color):
    """Those of the field have theirs, any other that of text."""
    assert ifo_color(ifo) == color
