"""The training's command line, as the published guide spells it."""

import csv

import h5py
import numpy as np
import pytest
import torch
import yaml

from aframe.artifacts.preprocessing import Preprocessing
from aframe.errors import AframeError
from aframe_train.trainer import train


@pytest.fixture
def words(config, data_dir, tmp_path, small):
    """Arguments of a training of 21 steps, without a subcommand."""
    preprocessing = [
        f"--data.{name}={'null' if value is None else value}"
        for name, value in small.PREPROCESSING.items()
    ]
    return [
        "--config", str(config), "--data.ifos=[H1,L1]", "--data.data_dir", str(data_dir),
        f"--trainer.logger.save_dir={tmp_path / 'run'}", *preprocessing,
    ]  # fmt: skip


def test_a_training_leaves_its_files(words, tmp_path, small):
    """Network, checkpoints, batches, preprocessing, metrics and configuration."""
    cli = train(words)
    run = tmp_path / "run"

    with h5py.File(run / "batch.hdf5") as file:
        kernels, labels = file["input_0"][:], file["y"][:]
    assert kernels.shape == (16, 2, 256)
    assert labels.shape == (16, 1)
    assert 6 <= labels.sum() <= 7
    with h5py.File(run / "val_batch.hdf5") as file:
        assert file["X_bg_0"].shape == (16, 2, 256)
        assert file["X_inj_0"].shape[0] == 3
    found = Preprocessing.read(run / "preprocessing.json")
    assert found == Preprocessing(("H1", "L1"), 256.0, 1.0, 0.5, 0.5, 20.0, None, 4.0)
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "7"), ("1", "14"), ("2", "21")]
    assert all(0 <= float(row["valid_auroc"]) <= 1 for row in rows)
    assert np.mean([float(row["train_loss"]) for row in rows]) < 1

    # model.pt scores any number of kernels like the best checkpoint's network.
    best = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
    network = cli.model.arch.cpu().eval()
    network.load_state_dict({name.removeprefix("arch."): each for name, each in best.items()})
    model = torch.jit.load(run / "model.pt")
    for count in (1, 16, 5):
        some = torch.from_numpy(kernels)[:count]
        torch.testing.assert_close(model(some), network(some))


def test_settings_reach_those_who_need_them(words, tmp_path):
    """The seed, the number of detectors and the validation's stride stand once."""
    cli = train(
        ["fit", *words, "--seed_everything=5", "--data.ifos=[L1]", "--trainer.max_epochs=1",
         "--data.batches_per_epoch=2", "--data.validation.valid_stride=0.25"]
    )  # fmt: skip

    assert cli.datamodule.seed == 5
    assert cli.model.arch.stem[0].in_channels == 1
    assert cli.model.metric.width == 8
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert written["data"]["init_args"]["ifos"] == ["L1"]
    assert "ckpt_path" not in written


SPECTRAL = """class_path: aframe_train.networks.Transformed
      init_args:
        representation: {class_path: aframe_train.representations.QTransform, init_args: {q: 8}}
        network:
          class_path: aframe_train.networks.ResNet
          init_args:
            dimensions: 2
            # The rest is that of the network over time.
            """


def spectral(config):
    """Let the small network see Q-transforms."""
    before = "class_path: aframe_train.networks.ResNet\n      init_args:\n        {"
    after = SPECTRAL + "layers: [1]\n            widths: [4]\n            strides: [2]\n"
    after += "            norm_groups: 2\n            stem: {width: 4}\n"
    text = config.read_text()
    begin = text.index(before)
    end = text.index("\n", begin + len(before))
    config.write_text(text[:begin] + after + text[end + 1 :])


def test_a_network_is_told_what_the_kernels_are(words, config, tmp_path):
    """Rate, length and band go to networks that ask, and config.yaml repeats them."""
    spectral(config)
    short = ["--trainer.max_epochs=1", "--data.batches_per_epoch=2"]
    shown = train([*words, *short]).model.arch.representation
    again = train(
        ["--config", str(tmp_path / "run" / "config.yaml"),
         f"--trainer.logger.save_dir={tmp_path / 'again'}"]
    ).model.arch.representation  # fmt: skip

    assert 20 <= shown.frequencies[0] < 22
    assert torch.equal(shown.frequencies, again.frequencies)
    kernels = torch.zeros(1, 2, 256)
    assert shown(kernels + 1).shape == again(kernels + 1).shape == (1, 2, 64, 128)
    written = torch.jit.load(tmp_path / "run" / "model.pt")
    assert written(torch.ones(3, 2, 256)).shape == (3, 1)


def test_a_network_that_must_know_the_rate_asks_for_it(words, config):
    """Left to the strain, the rate is not known in time."""
    spectral(config)

    with pytest.raises(AframeError, match="network must know the sample rate"):
        train([word for word in words if "sample_rate" not in word])


def test_a_written_configuration_repeats_the_training(words, tmp_path):
    """config.yaml alone gives the same network, bit for bit."""
    short = ["--trainer.max_epochs=1", "--data.batches_per_epoch=3"]
    train([*words, *short])
    run = tmp_path / "run"
    (tmp_path / "again.yaml").write_text((run / "config.yaml").read_text())
    train(
        [
            "--config",
            str(tmp_path / "again.yaml"),
            f"--trainer.logger.save_dir={tmp_path / 'again'}",
        ]
    )

    assert (run / "metrics.csv").read_text() == (tmp_path / "again" / "metrics.csv").read_text()
    assert (run / "batch.hdf5").read_bytes() == (tmp_path / "again" / "batch.hdf5").read_bytes()


def test_several_loggers_share_a_training(words, tmp_path):
    """A second logger is appended; files go where the first one writes."""
    train(
        [*words, "--trainer.max_epochs=1", "--data.batches_per_epoch=2",
         "--trainer.logger+=lightning.pytorch.loggers.CSVLogger",
         f"--trainer.logger.save_dir={tmp_path / 'other'}"]
    )  # fmt: skip

    assert (tmp_path / "run" / "model.pt").exists()
    assert (tmp_path / "other" / "lightning_logs").exists()


def edited(config, old, new):
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "found", "fix"),
    [
        (
            "pct_lr_ramp",
            "pct_lr_rump",
            "'pct_lr_rump' is not accepted",
            "did you mean pct_lr_ramp?",
        ),
        ("max_epochs", "max_epoch", "'trainer.max_epoch'", "did you mean trainer.max_epochs?"),
        ("kernels_per_stretch", "kernels_per_strech", "option 'kernels_per_strech'", ""),
        ("learning_rate: 3.0e-3", "learning_rate: fast", "fast", ""),
        (
            "max_epochs: 3",
            "max_epochs: many",
            "trainer.max_epochs: many, where <class 'int'> or <class 'NoneType'> is expected",
            "",
        ),
        ("networks.ResNet", "networks.Resnet", "no attribute 'Resnet'", ""),
        ("model:", "model: [", "Problems parsing config", ""),
        ("accelerator: cpu", "accelerator: gpu", "gpu", ""),
    ],
)
def test_a_wrong_configuration_is_named(words, config, old, new, found, fix):
    """Unknown keys and impossible values: what, in which file, and the nearest that there is."""
    edited(config, old, new)

    with pytest.raises(AframeError, match="training configuration cannot be used") as error:
        train(words)

    assert found in error.value.found
    assert fix in error.value.fix
    assert ("did you" in error.value.fix) == ("did you" in fix)
    assert str(config) in error.value.wanted_by


def test_a_mistyped_option_is_told_with_the_nearest(words):
    """As the configuration's keys are."""
    with pytest.raises(AframeError, match=r"mean learning_rate\?"):
        train([*words, "--model.learning_rat=1"])


def test_detectors_without_brackets_are_told_with_them(words):
    """As the .cfg spells them they are no list."""
    with pytest.raises(AframeError, match=r'write "\[H1,L1\]"; '):
        train([*words, "--data.ifos=H1,L1"])


def test_our_errors_keep_their_words(words, config):
    """What our classes refuse is not wrapped in the parser's remarks."""
    edited(config, "maximum: 50", "maximum: 5")

    with pytest.raises(AframeError, match="ratios have no density"):
        train(words)


def test_refuses_a_seed_that_is_none(words):
    """Negative ones, say."""
    with pytest.raises(AframeError, match="there is no such seed"):
        train([*words, "--seed_everything=-3"])


def test_a_training_that_diverges_ends(words, tmp_path):
    """With the epoch and what helps, and without a network of no numbers."""
    with pytest.raises(AframeError, match="the training diverged") as refused:
        train([*words, "--model.learning_rate=1e30"])

    assert "nan in epoch 1" in refused.value.found
    assert not (tmp_path / "run" / "model.pt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["limit_val_batches=0"], "no epoch would be validated"),
        (["check_val_every_n_epoch=4"], "no epoch would be validated"),
        (["max_epochs=0"], "no epoch would be validated"),
        (["max_epochs=-1"], "the training has no end"),
    ],
)
def test_refuses_a_training_in_vain(words, tmp_path, options, message):
    """Before its first step: without a score no weights are the best, and a rate needs an end."""
    with pytest.raises(AframeError, match=message):
        train([*words, *(f"--trainer.{option}" for option in options)])

    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_a_callback_that_watches_nothing_is_refused(words, tmp_path):
    """Before the first epoch, with what there is to watch; what is logged is taken."""
    stopping = "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping"
    options = [stopping, "--trainer.callbacks.mode=max", "--trainer.max_epochs=1"]

    with pytest.raises(AframeError, match="a metric that is not logged") as refused:
        train([*words, *options, "--trainer.callbacks.monitor=valid_aurok"])

    assert refused.value.found == "monitor valid_aurok"
    assert "EarlyStopping" in refused.value.wanted_by
    assert "did you mean valid_auroc?" in refused.value.fix
    assert "train_loss" in refused.value.fix
    assert not (tmp_path / "run" / "metrics.csv").exists()
    cli = train([*words, *options, "--trainer.callbacks.monitor=valid_auroc"])
    assert set(cli.model.logged) <= set(cli.trainer.callback_metrics)


def test_a_training_that_ends_before_its_first_validation_says_so(words):
    """Which only the data tell."""
    with pytest.raises(AframeError, match="no weights are the best"):
        train([*words, "--trainer.max_epochs=-1", "--trainer.max_steps=1"])
