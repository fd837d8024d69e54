"""The pipeline Tune on the real stages: a search for settings, and what follows with its best."""

import json
from pathlib import Path

import h5py
import pytest

from aframe.artifacts.record import file_digest, read_record

#: One process runs these: they share one search.
pytestmark = pytest.mark.xdist_group("end_to_end")


def processes_of(run):
    """Processes that have the run's directory in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{run.directory}/".encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_the_chain_goes_on_with_the_best_training(tuned):
    """Its network is what is exported and searched with, and the report shows the search."""
    training, results = tuned.directory / "training", tuned.directory / "results"
    found = json.loads((training / "trials.json").read_text())

    assert [trial["status"] for trial in found["trials"]] == ["finished", "finished"]
    best = found["trials"][found["best"]]
    assert best["score"] == max(trial["score"] for trial in found["trials"])
    exported = read_record(results / "export.record.json")
    assert exported.inputs["weights"] == file_digest(training / "model.pt")
    with h5py.File(results / "foreground.hdf5") as file:
        assert len(file["parameters/injection_time"]) == 60
    assert 'id="tuning"' in (results / "report.html").read_text()
    assert processes_of(tuned) == []
    assert list((tuned.directory / "tmp").glob("aframe-ray-*")) == []


@pytest.mark.parametrize("spelling", ["tune", "sandbox"])
def test_a_finished_search_does_nothing_again(tuned, spelling):
    """By either of the pipeline's names."""
    script = tuned.directory / "run.sh"
    text = script.read_text()
    script.write_text(
        text.replace("aframe.pipelines.tune.Tune", f"aframe.pipelines.{spelling}.Tune")
    )

    status, said = tuned.run()

    script.write_text(text)
    assert status == 0
    assert " | " not in said, "a step ran again"
