"""`aframe graph`: the picture of the steps."""

import xml.etree.ElementTree as ET
from itertools import pairwise

from aframe.commands.graph import layers
from aframe.tasks.outlook import Outlook

SVG = "{http://www.w3.org/2000/svg}"


def _outlook(name, *rests_on):
    return Outlook(step=None, name=name, state="runs", rests_on=rests_on)


def test_each_step_lies_after_what_it_rests_on():
    """As late as what rests on it allows; an arrow has a place in each layer that it passes."""
    found = [_outlook("a"), _outlook("b", "a"), _outlook("late"), _outlook("c", "b", "a", "late")]
    rows, arrows = layers(found)
    layer = {name: number for number, row in enumerate(rows) for name in row}

    assert [layer[name] for name in "abc"] == [0, 1, 2]
    assert layer["late"] == 1
    assert all(
        layer[after] == layer[before] + 1 for each in arrows for before, after in pairwise(each)
    )
    assert len(arrows) == 4


def test_crossings_are_avoided():
    """Two chains in the wrong order are put beside each other."""
    found = [
        _outlook("a1"), _outlook("a2"), _outlook("b2", "a2"), _outlook("b1", "a1"),
    ]  # fmt: skip
    (first, second), _ = layers(found)

    assert [name[1] for name in first] == [name[1] for name in second]


def test_a_picture_that_cannot_be_written_is_refused(empty, tmp_path):
    """With the file that was asked for, and nothing left behind."""
    status, out, err = empty.aframe("graph", "--output", str(tmp_path / "none/run.svg"))

    assert (status, out) == (2, "")
    assert "the picture cannot be written" in err
    assert f"found      No such file or directory: {tmp_path}/none/run.svg\n" in err
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_no_picture_is_not_overwritten(empty, tmp_path):
    """Such as a result; a picture from before is."""
    result = tmp_path / "background.hdf5"
    result.write_bytes(b"events")
    picture = tmp_path / "run.svg"
    picture.touch()

    status, out, err = empty.aframe("graph", "--output", str(result))

    assert (status, out, result.read_bytes()) == (2, "", b"events")
    assert f"in the way\n  found      {result}" in err
    for _ in range(2):
        assert empty.aframe("graph", "--output", str(picture))[0] == 0
    assert picture.read_text().startswith("<svg")


def test_every_step_is_drawn_in_the_color_of_its_state(finished, tmp_path):
    """With a legend that counts the states; boxes do not overlap and lie in the picture."""
    (finished.directory / "results/plots/sensitive_volume.h5").unlink()
    status, out, err = finished.aframe("graph", "--output", str(tmp_path / "run.svg"))
    root = ET.fromstring((tmp_path / "run.svg").read_text())  # noqa: S314
    texts = [each.text for each in root.iter(f"{SVG}text")]
    boxes = [each.find(f"{SVG}rect") for each in root.iter(f"{SVG}g")]
    at = [[float(box.get(key)) for key in ("x", "y", "width", "height")] for box in boxes]

    assert (status, out, err) == (0, "", f"wrote {tmp_path}/run.svg\n")
    assert {"done (13)", "runs (1)", "waits (1)", "SandboxSV"} <= set(texts)
    assert "lost: sensitive_volume.h5" in texts
    assert len(boxes) == 15
    width, height = float(root.get("width")), float(root.get("height"))
    assert all(x + w <= width and y + h <= height for x, y, w, h in at)
    for i, (x, y, w, h) in enumerate(at):
        assert not any(
            x < x2 + w2 and x2 < x + w and y < y2 + h2 and y2 < y + h
            for x2, y2, w2, h2 in at[i + 1 :]
        )


def test_without_a_file_it_is_printed(empty):
    """Nothing is written to the disk."""
    _, out, _ = empty.aframe("graph")

    assert ET.fromstring(out).tag == f"{SVG}svg"  # noqa: S314
