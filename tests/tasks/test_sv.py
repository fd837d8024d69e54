"""Tasks of the sv stage: what the volume is estimated from, and what the report shows."""

from pathlib import Path

from aframe.tasks import PAstro, Report, SensitiveVolume, Veto


def test_the_volume_rests_on_events_and_rejected_draws(shared, tmp_path):
    """Every draw counts, also those that were never injected."""
    task = SensitiveVolume()

    assert task.inputs() == {
        "background": tmp_path / "results/background.hdf5",
        "foreground": tmp_path / "results/foreground.hdf5",
        "rejected_parameters": tmp_path / "data/test/rejected-parameters.hdf5",
    }
    assert task.output()["sensitive_volume"].path == str(
        tmp_path / "results/plots/sensitive_volume.h5"
    )
    assert task.settings()["mass_combos"] == [[35, 35], [35, 20], [20, 20], [20, 10]]


def test_vetoes_come_between_the_search_and_what_rests_on_it(shared, tmp_path):
    """Volume and report take the events that are left; the network is still the search's."""
    shared["vetoes"] = "/lists"
    task = SensitiveVolume()
    veto = task.requires()["events"]

    assert isinstance(veto, Veto)
    assert task.inputs()["background"] == tmp_path / "results/vetoed/background.hdf5"
    assert veto.inputs()["vetoes"] == Path("/lists")
    assert veto.inputs()["background"] == tmp_path / "results/background.hdf5"
    assert veto.inputs()["strain"] == tmp_path / "data/test/background"
    assert veto.settings()["psd_length"] == veto.requires().psd_length
    report = Report().inputs()
    assert report["zero_lag"] == tmp_path / "results/vetoed/0lag.hdf5"
    assert report["candidates"] == tmp_path / "results/vetoed/candidates.hdf5"
    assert report["preprocessing"] == tmp_path / "training/preprocessing.json"


def test_probabilities_are_of_the_events_and_the_population_of_the_volume(shared, tmp_path):
    """One prior, one window of recovery and the same files for both."""
    shared |= {"vetoes": "/lists", "dt": "0.5", "source_prior": "log_uniform_bbh"}
    task = PAstro()

    assert task.inputs() == {
        **SensitiveVolume().inputs(), "zero_lag": tmp_path / "results/vetoed/0lag.hdf5",
    }  # fmt: skip
    assert (task.settings()["dt"], task.settings()["source_prior"]) == (0.5, "log_uniform_bbh")
    assert Report().inputs()["p_astro"] == tmp_path / "results/plots/p_astro.hdf5"


def test_a_search_without_zero_lag_has_none_to_veto(shared):
    """No more files than the search has."""
    shared |= {"zero_lag": "False", "vetoes": "/lists"}

    assert set(Veto().output()) == {"background", "foreground"}
    assert Veto().inputs()["zero_lag"] is None


def test_the_report_shows_every_step(shared, tmp_path):
    """The records of all steps below it, each once."""
    records = Report().stage_resources()["records"]

    assert records == sorted(
        str(tmp_path / name)
        for name in (
            "data/train/query.record.json",
            "data/train/fetch.record.json",
            "data/train/training_waveforms.record.json",
            "data/train/validation_waveforms.record.json",
            "data/test/query.record.json",
            "data/test/fetch.record.json",
            "data/test/testing_waveforms.record.json",
            "training/fit.record.json",
            "results/export.record.json",
            "results/infer.record.json",
            "results/plots/estimate.record.json",
            "results/plots/p_astro.record.json",
        )
    )


def test_the_report_reads_what_there_is(shared, tmp_path):
    """Zero-lag strain is named where it is other than the test's."""
    inputs = Report().inputs()

    assert inputs["zero_lag_background"] is None
    assert inputs["zero_lag"] == tmp_path / "results/0lag.hdf5"
    assert inputs["train_background"] == tmp_path / "data/train/background"
    assert all(path.is_relative_to(tmp_path) for path in inputs.values() if path)


def test_the_report_without_zero_lag(shared):
    """A search of slides alone has no events of zero lag to show."""
    shared["zero_lag"] = "False"
    inputs = Report(title="slides alone").inputs()

    assert inputs["zero_lag"] is None
    assert inputs["candidates"] is None
    assert inputs["p_astro"] is None
    assert set(Report().requires()) == {"volume"}


def test_the_title_does_not_depend_on_where_the_run_lies(shared):
    """A copy of a run directory is as complete as the run."""
    assert Report().settings() == {"title": "A search for gravitational waves"}
    assert Report(title="mine").settings() == {"title": "mine"}
