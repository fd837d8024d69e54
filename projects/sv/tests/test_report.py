"""The verb `report`: the whole page."""

import base64
import logging
import os
import re
import shutil
import subprocess
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_sv.cli import VERBS
from aframe_sv.evidence import Inputs
from aframe_sv.report import OUTPUT, ReportResources, ReportSettings, read_records, report
from aframe_sv.sections import qscan

#: One process runs these: they share a page.
pytestmark = pytest.mark.xdist_group("report")

NAMES = [each.name for each in fields(Inputs)]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: What an attribute or style may refer to: itself, a part of the page, or data within it.
INSIDE = re.compile(r"(#[\w-]+|data:.*)?", re.DOTALL)


def make(folder, inputs, records=(), title="A title", workers=1):
    """Write a report; give its path."""
    folder.mkdir(parents=True, exist_ok=True)
    resources = ReportResources(workers=workers, records=list(records))
    report(ReportSettings(inputs, folder, title, resources), Draft(folder))
    return folder / OUTPUT


@pytest.fixture(scope="module")
def whole(inputs, records, tmp_path_factory):
    """The page of the whole run, and its figures."""
    figures, save = [], Figure.savefig

    def keep(figure, *words, **options):
        save(figure, *words, **options)
        figures.append(figure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", keep)
        return make(tmp_path_factory.mktemp("report"), inputs, records), figures


@pytest.fixture(scope="module")
def page(whole):
    """The page of the whole run."""
    return whole[0]


class References(HTMLParser):
    """Everything in a page that could refer to something else."""

    LINKS = ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href")

    def __init__(self, text):
        super().__init__()
        self.found, self.headings, self.ids = [], [], []
        self.feed(text)
        self.found += re.findall(r"url\(\s*[\"']?([^\"')]*)", text)
        self.found += re.findall(r"@import\s+[\"']?([^\"';]*)", text)

    def handle_starttag(self, tag, attrs):
        """Keep what a tag refers to."""
        self.found += [value for name, value in attrs if name in self.LINKS]
        self.headings += [tag] if re.fullmatch("h[1-6]", tag) else []
        self.ids += [value for name, value in attrs if name == "id"]

    @property
    def outside(self):
        """What lies outside the page."""
        return [value for value in self.found if not INSIDE.fullmatch(value)]


def test_page_refers_to_nothing_outside_itself(page):
    """No file, no network: every reference is a part of the page or data in it."""
    text = page.read_text()
    references = References(text)

    assert len(references.found) > 20
    assert references.outside == []
    assert "<script" not in text
    assert len(set(references.ids)) == len(references.ids)
    assert references.headings[0] == "h1"


def test_references_outside_would_be_seen():
    """The check above can fail."""
    text = '<img src="http://x/y.png"><link href="a.css"><style>p{background:url(b.png)}</style>'

    assert References(text).outside == ["http://x/y.png", "a.css", "b.png"]


def test_figures_are_self_contained_too(page):
    """The drawings inside refer to nothing outside but the names of their formats."""
    drawings = re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", page.read_text())
    assert len(drawings) >= 15
    for drawing in drawings:
        svg = base64.b64decode(drawing).decode()
        links = re.findall(r'(?:href|src)="([^"]*)"', svg) + re.findall(r"url\(([^)]*)\)", svg)
        assert all(INSIDE.fullmatch(link) for link in links)


def test_page_is_small(page):
    """It can be sent by mail."""
    assert page.stat().st_size < 3_000_000


def test_every_figure_has_caption_and_text(page):
    """What to see, and what is there for those who cannot."""
    text = page.read_text()

    figures = re.findall(r"<figure>.*?</figure>", text, re.DOTALL)
    assert len(figures) == text.count("<img ") >= 15
    for figure in figures:
        assert re.search(r'alt="[^"]{20,}"', figure)
        assert re.search(r"<figcaption>[^<]{20,}</figcaption>", figure)


def test_page_says_what_was_found_and_against_what(page):
    """The headline, and the notice that the background is simulated."""
    text = page.read_text()

    assert "One event is louder than all 6.0 hours of simulated background." in text
    assert "They are not astrophysical" in text


def test_same_inputs_give_the_same_bytes(inputs, records, page, tmp_path):
    """No date, no place, no chance, however many processes draw it."""
    again = make(tmp_path / "again", inputs, records, workers=2)
    assert again.read_bytes() == page.read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_input_that_cannot_be_read_is_named(inputs, tmp_path, workers):
    """By the error of the process that reads it."""
    (tmp_path / "cut.hdf5").write_bytes(b"cut")
    with pytest.raises(AframeError, match=r"cut\.hdf5"):
        make(tmp_path, replace(inputs, background=tmp_path / "cut.hdf5"), workers=workers)


def test_no_legend_hides_anything(whole):
    """All legends stand beside their plot and its title, within the figure."""
    plots = [ax for figure in whole[1] for ax in figure.axes]
    legends = [(ax, ax.get_legend()) for ax in plots if ax.get_legend()]

    assert len(legends) >= 10
    for ax, legend in legends:
        place, figure = legend.get_window_extent(), ax.figure.bbox
        assert not place.overlaps(ax.bbox)
        assert not (ax.get_title() and place.overlaps(ax.title.get_window_extent()))
        assert figure.x0 <= place.x0 < place.x1 <= figure.x1
        assert place.y1 <= figure.y1


@pytest.fixture(scope="module")
def scan_once():
    """A scan that is made once of the same strain."""
    found, scan = {}, qscan.scan

    def once(strain, *words):
        key = strain.values.tobytes(), strain.gps_start, strain.sample_rate, *words
        if key not in found:
            found[key] = scan(strain, *words)
        return found[key]

    return once


@pytest.fixture
def undrawn(monkeypatch, scan_once):
    """Make plots as ever, but leave out the time that drawing them takes, and scans made before."""
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write(b"<svg/>"))
    monkeypatch.setattr(qscan, "scan", scan_once)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", NAMES)
def test_any_input_may_be_missing(inputs, records, tmp_path, name):
    """A sentence instead, never a crash."""
    page = make(tmp_path, replace(inputs, **{name: None}), records)

    assert References(page.read_text()).outside == []


@pytest.mark.usefixtures("undrawn")
def test_detectors_without_a_name_are_numbered(inputs, tmp_path):
    """Where neither the network nor a record says which they are."""
    page = make(tmp_path, replace(inputs, preprocessing=None)).read_text()

    assert "detector 2" in page


def test_an_empty_report_is_a_page_of_sentences(tmp_path):
    """Nothing given, nothing shown, nothing broken."""
    text = make(tmp_path, Inputs()).read_text()

    assert "<img" not in text
    assert text.count("<section") == 8
    assert text.count("<p>") >= 9


def test_records_that_are_missing_are_left_out(records, tmp_path, caplog):
    """The page shows those that are there, and the log names the others."""
    with caplog.at_level(logging.WARNING):
        found = read_records([records[0], tmp_path / "gone.record.json"])

    assert [path for path, _ in found] == [records[0]]
    assert "gone.record.json" in caplog.text


@pytest.mark.usefixtures("undrawn")
def test_notes_count_what_is_on_the_page(inputs, records, tmp_path):
    """Number of figures and size, for the record."""
    draft = Draft(tmp_path)
    settings = ReportSettings(inputs, tmp_path, "t", ReportResources(records=records))
    report(settings, draft)

    text = (tmp_path / OUTPUT).read_bytes()
    assert draft.notes == {"pictures": text.count(b"<img "), "bytes": len(text)}


def find_browser():
    """A browser on this machine, or skip the test."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser on PATH ({', '.join(BROWSERS)})")
    return found


def load(page, folder, width=1300):
    """Load a page in a browser without network; give its title, and what the console said."""
    folder.mkdir(exist_ok=True)
    command = [
        find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--dump-dom",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000",
        f"--window-size={width},1000",
        with_check(page, folder).as_uri(),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, env=os.environ
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return re.search("<title>(.*)</title>", done.stdout, re.DOTALL)[1], console


CHECK = r"""<script>
window.addEventListener("load", () => {
  const images = [...document.images], asked = performance.getEntriesByType("resource");
  const broken = images.filter(image => !image.complete || !image.naturalWidth);
  const outside = asked.filter(each => !each.name.startsWith("data:"));
  const words = [...document.querySelectorAll("dd")].flatMap(value => [...value.childNodes])
    .flatMap(text => [...(text.data ?? "").matchAll(/\S+/g)].map(word => {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      return range.getClientRects().length;
    }));
  const cut = words.filter(lines => lines > 1);
  const wide = document.documentElement.scrollWidth > window.innerWidth;
  document.title = `${images.length} images, ${broken.length} broken, ` +
    `${outside.length} asked for, ${cut.length} of ${words.length} numbers cut, ` +
    `${wide ? "too wide" : "fits"}`;
});
</script>"""


def with_check(page, folder):
    """Copy a page with a script that counts what it shows once it has been loaded."""
    path = folder / "checked.html"
    text = page.read_text()
    path.write_text(text.replace("</body>", f"{CHECK}</body>"))
    return path


@pytest.mark.parametrize("width", [1300, 500])
def test_a_browser_shows_every_figure_and_asks_for_nothing(page, tmp_path, width):
    """In a real browser: no console message, no request, no broken image or number, no overflow."""
    title, console = load(page, tmp_path, width)

    assert re.fullmatch(r"\d\d images, 0 broken, 0 asked for, 0 of \d\d numbers cut, fits", title)
    assert console == []


def test_a_browser_would_show_faults(tmp_path):
    """It can fail: an error, a request, a broken and too wide image, a cut number are seen."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<html><title>t</title><body><dd style='width: 9ch; overflow-wrap: anywhere'>1126259462.44"
        "</dd><img src='https://example.org/x.png' style='width: 5000px'>"
        "<script>throw 1</script></body></html>"
    )

    title, console = load(bad, tmp_path)

    assert title == "1 images, 1 broken, 1 asked for, 1 of 1 numbers cut, too wide"
    assert any("Uncaught" in line for line in console)


def test_the_verbs_say_what_they_publish():
    """The names the command removes and replaces are those the verbs write."""
    assert {verb.name: verb.publishes for verb in VERBS} == {
        "estimate": ("sensitive_volume.h5",),
        "p_astro": ("p_astro.hdf5",),
        "challenge": ("challenge.hdf5",),
        "report": (OUTPUT,),
        "compare": ("comparison.html",),
        "veto": ("background.hdf5", "foreground.hdf5", "0lag.hdf5", "candidates.hdf5"),
    }
