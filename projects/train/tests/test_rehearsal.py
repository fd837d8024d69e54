"""A configuration is refused before there are data."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from aframe.errors import AframeError
from aframe_train.fit import FitInputs, FitSettings
from aframe_train.rehearsal import rehearse
from aframe_train.tune.settings import TuneInputs, TuneResources, TuneSettings


@pytest.fixture
def settings(config, tmp_path, small):
    """Settings of a training whose data are still to be made."""
    absent = tmp_path / "absent"
    return FitSettings(
        inputs=FitInputs(absent, absent, absent, config),
        output=tmp_path / "out",
        ifos=("H1", "L1"),
        **small.PREPROCESSING,
    )


def test_a_good_configuration_needs_no_data(settings, tmp_path):
    """Nothing is read but the configuration, and nothing is written."""
    before = sorted(tmp_path.rglob("*"))
    rehearse(settings)

    assert sorted(tmp_path.rglob("*")) == before


def test_a_configuration_may_lie_on_s3(settings, bucket):
    """Like any input."""
    bucket.put(settings.inputs.train_config, "train.yaml")
    there = Path(f"{bucket.address}/train.yaml")
    rehearse(replace(settings, inputs=replace(settings.inputs, train_config=there)))

    bucket.client.delete_object(Bucket=bucket.name, Key="train.yaml")
    with pytest.raises(AframeError, match="an input is missing"):
        rehearse(replace(settings, inputs=replace(settings.inputs, train_config=there)))


@pytest.mark.parametrize(
    ("here", "there", "message"),
    [
        ("batches_per_epoch", "batch_per_epoch", "batch_per_epoch"),
        ("norm_groups: 2", "norm_groups: 3", "the network cannot be built"),
        ("max_epochs", "max_epoch", "trainer.max_epoch"),
        ("max_epochs: 3", "max_epochs: -1", "the training has no end"),
        ("learning_rate: 3", "learning_rate: -3", "the optimizer cannot work so"),
        ("batches_per_epoch: 7", "batches_per_epoch: 0", "there is nothing to train with"),
        ("waveform_prob: 0", "waveform_prob: 7", "the shares of a batch do not add up"),
        ("psd_length: 4", "psd_length: 0.2", "shorter than one Welch segment"),
        ("psd_length: 4", "left_pad: 0.99", "the coalescence has no place in the kernel"),
        ("psd_length: 4", "glitches: {table: a.csv}", "table of glitches would go unnoticed"),
        ("data:", "data: [", "the training configuration cannot be used"),
    ],
)
def test_a_wrong_configuration_is_refused(settings, here, there, message):
    """An unknown key, a network that cannot be, amounts that contradict, no YAML at all."""
    config = settings.inputs.train_config
    text = config.read_text()
    assert here in text
    config.write_text(text.replace(here, there, 1))

    with pytest.raises(AframeError, match=message) as refused:
        rehearse(settings)
    assert refused.value.wanted_by == str(config)


def test_what_the_record_knows_may_be_named(settings, tmp_path):
    """A table that is an input, and a population of aframe's for waveforms made in training."""
    config = settings.inputs.train_config
    config.write_text(
        config.read_text()
        .replace("psd_length: 4", "generation: {prior: aframe.priors.spin_bbh}")
        .replace("mute_prob: 0.1", "mute_prob: 0.1, glitch_prob: 0.1")
    )
    inputs = replace(settings.inputs, training_waveforms=None, glitches=tmp_path / "a.csv")
    rehearse(replace(settings, inputs=inputs))


def test_glitches_that_no_batch_gets_are_refused(settings, tmp_path):
    """A table without a share."""
    inputs = replace(settings.inputs, glitches=tmp_path / "a.csv")

    with pytest.raises(AframeError, match="the glitches would not be used"):
        rehearse(replace(settings, inputs=inputs))


def test_a_population_of_ones_own_is_named_elsewhere(settings):
    """Its module would not be recorded."""
    config = settings.inputs.train_config
    config.write_text(config.read_text().replace("psd_length: 4", "generation: {prior: my.own}"))
    inputs = replace(settings.inputs, training_waveforms=None)

    with pytest.raises(AframeError, match="population would go unnoticed"):
        rehearse(replace(settings, inputs=inputs))


@pytest.mark.parametrize("makes", [True, False])
def test_waveforms_come_from_one_place(settings, makes):
    """Neither made and read, so that a ledger would be made for nothing, nor none of both."""
    config, inputs = settings.inputs.train_config, settings.inputs
    if makes:
        config.write_text(config.read_text().replace("psd_length: 4", "generation: {}"))
    else:
        inputs = replace(inputs, training_waveforms=None)

    with pytest.raises(AframeError, match="not clear where the training's waveforms come from"):
        rehearse(replace(settings, inputs=inputs))


def test_a_missing_configuration_is_refused(settings):
    """It is named."""
    settings.inputs.train_config.unlink()

    with pytest.raises(AframeError, match="there is no training configuration"):
        rehearse(settings)


@pytest.mark.parametrize(
    ("key", "line", "changes", "message"),
    [
        ("model.learning_rate", "num_sample: 2", {}, "configuration of the search cannot be used"),
        ("model.learning_rat", "", {}, "a training cannot be given what the search tries"),
        ("data.highpass", "", {}, "trials may not differ in this"),
        ("model.learning_rate", "grace_period: 9", {}, "trials end before they may be compared"),
        ("model.learning_rate", "", {"num_workers": 4096}, "no room for the trials"),
        ("model.learning_rate", "", {"storage_dir": "/dev/null/a"}, "cannot be written"),
        ("model.learning_rate", "", {}, None),
    ],
)
def test_a_search_is_refused_for_what_it_tries(
    settings, tmp_path, small, key, line, changes, message
):
    """Both configurations of a search are looked through, and its room and places."""
    absent, tried = tmp_path / "absent", tmp_path / "tune.yaml"
    tried.write_text(f"space: {{{key}: 'uniform(0, 1)'}}\n{line}\n")
    inputs = TuneInputs(absent, absent, absent, settings.inputs.train_config, tried)
    search = TuneSettings(
        inputs=inputs, output=tmp_path / "out", ifos=("H1", "L1"), **small.PREPROCESSING,
        resources=TuneResources(**changes),
    )  # fmt: skip
    expected = pytest.raises(AframeError, match=message) if message else nullcontext()
    before = sorted(tmp_path.rglob("*"))

    with expected:
        rehearse(search)

    assert sorted(tmp_path.rglob("*")) == before
