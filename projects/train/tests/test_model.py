"""The Lightning module on data that is easy to tell apart."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer

from aframe.errors import AframeError
from aframe_train.callbacks import Artifacts, Checkpoints, Progress
from aframe_train.metric import TimeSlideAUROC
from aframe_train.model import Aframe, SemiSupervisedAframe, SupervisedAframe, parameter_groups
from aframe_train.trainer import train
from aframe_train.validation import ValidationBatch


class Sum(torch.nn.Module):
    """Scores the sum of a kernel, times a weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, kernels):
        """Score."""
        return self.weight * kernels.sum((1, 2))[:, None]


@pytest.fixture
def model():
    made = SupervisedAframe(Sum(), TimeSlideAUROC(0.5, 1, 0.5), 0.1, 0.25, 0.01)
    made._trainer = SimpleNamespace(callbacks=[])
    return made


@pytest.mark.parametrize(
    "settings", [(-0.1, 0.5, 0.0, 1), (0.1, 1.5, 0.0, 1), (0.1, 0.5, -1.0, 1), (0.1, 0.5, 0.0, 0)]
)
def test_refuses_what_no_optimizer_can_do(settings):
    """A negative rate or decay, a ramp beyond the end, a checkpoint every zero steps."""
    with pytest.raises(AframeError, match="the optimizer cannot work so"):
        SupervisedAframe(Sum(), TimeSlideAUROC(), *settings)


def test_loss_is_the_cross_entropy_of_the_logits(model, monkeypatch):
    """Two kernels by hand."""
    monkeypatch.setattr(model, "log", lambda *_, **__: None)
    kernels, labels = torch.tensor([[[2.0]], [[-1.0]]]), torch.tensor([[1.0], [0.0]])

    loss = model.training_step((kernels, labels))

    expected = -(torch.tensor(2.0).sigmoid().log() + torch.tensor(1.0).sigmoid().log()) / 2
    torch.testing.assert_close(loss, expected)


def test_a_compiled_network_learns_the_same(config, data_dir, small, tmp_path, monkeypatch):
    """It stands once in the checkpoint, and in the end is the network without compilation."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    words = [f"--data.{name}={value}" for name, value in small.PREPROCESSING.items() if value]
    for name in ("true", "false"):
        train(
            ["--config", str(config), "--data.ifos=[H1,L1]", f"--data.data_dir={data_dir}", *words,
             f"--trainer.logger.save_dir={tmp_path / name}", f"--model.compiled={name}",
             "--trainer.max_epochs=1"]
        )  # fmt: skip
    compiled, plain = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("true", "false")
    )

    assert compiled.keys() == plain.keys()
    for name, weights in plain.items():
        torch.testing.assert_close(compiled[name], weights, rtol=1e-4, atol=1e-5)


def test_a_validation_is_in_single_precision(model):
    """Loud scores stay apart, whatever precision the training has."""
    kernels = torch.tensor([[[300.0]], [[301.0]]])
    model.arch = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        model.validation_step(
            ValidationBatch(torch.arange(2), torch.zeros(2).long(), kernels, kernels[None])
        )

    assert model.metric.background[0].dtype == torch.float32
    assert len(set(model.metric.background[0].tolist())) == 2


def test_background_has_no_say_in_semi_supervised_training():
    """The loss is the mean score of the signals, turned over; without any it is nothing."""
    model = SemiSupervisedAframe(Sum(), TimeSlideAUROC(0.5, 1, 0.5), 0.1, 0.25)
    scores, labels = torch.tensor([[2.0], [9.0], [4.0]]), torch.tensor([[1.0], [0.0], [1.0]])

    assert model.loss(scores, labels) == -3
    assert model.loss(scores, torch.zeros(3, 1)) == 0


def test_a_training_says_what_it_learns_from(model):
    """Without a loss of its own, no module is made."""
    with pytest.raises(TypeError, match=r"abstract method '?loss"):
        Aframe(Sum(), model.metric, 0.1, 0.25)


def test_what_a_network_draws_depends_on_the_step(model):
    """The same after a resumption; another in the next step, another process, another run."""

    def drawn(model, step, rank=0):
        model._trainer = SimpleNamespace(global_step=step, world_size=2, global_rank=rank)
        model.on_train_batch_start(None, 0)
        return float(torch.rand(()))

    torch.manual_seed(5)
    other = SupervisedAframe(Sum(), model.metric, 0.1, 0.25)
    first = drawn(model, 3)

    assert drawn(model, 3) == first
    assert len({first, drawn(model, 4), drawn(model, 3, 1), drawn(other, 3)}) == 4


def test_a_signal_scores_the_mean_of_its_views(model):
    """Views are averaged, signals are not mixed."""
    injected = torch.tensor([[1.0, 10.0], [3.0, 30.0]])[..., None, None]
    model.validation_step(
        ValidationBatch(torch.tensor([0]), torch.tensor([0]), torch.tensor([[[7.0]]]), injected)
    )

    assert torch.cat(model.metric.foreground).tolist() == [2.0, 20.0]
    assert torch.cat(model.metric.background).tolist() == [7.0]


def test_a_batch_without_signals_is_not_scored(model):
    """Some networks cannot, and there is nothing to score."""
    model.arch.forward = lambda kernels: torch.fft.rfft(kernels).real.sum((1, 2))[:, None]
    model.validation_step(
        ValidationBatch(
            torch.tensor([0]), torch.tensor([0]), torch.tensor([[[7.0]]]), torch.zeros(5, 0, 1, 1)
        )
    )

    assert torch.cat(model.metric.foreground).tolist() == []
    assert torch.cat(model.metric.background).tolist() == [7.0]


def test_callbacks_hear_of_each_score(model):
    """Kernels, of signals those of the middle view, with their scores and labels."""
    heard = []
    listener = SimpleNamespace(on_validation_score=lambda *told: heard.append(told))
    model._trainer = SimpleNamespace(callbacks=[listener, Progress()])
    injected = torch.tensor([[1.0], [3.0], [8.0]])[..., None, None]
    model.validation_step(
        ValidationBatch(torch.tensor([0]), torch.tensor([0]), torch.tensor([[[7.0]]]), injected)
    )

    ((inputs, outputs, labels),) = heard
    assert inputs.flatten().tolist() == [7.0, 3.0]
    assert outputs.tolist() == [7.0, 4.0]
    assert labels.tolist() == [False, True]


def test_learning_rate_rises_and_falls_once(model):
    """The largest comes after a quarter of the steps, and the last is next to nothing."""
    model._trainer = SimpleNamespace(world_size=2, estimated_stepping_batches=40)
    found = model.configure_optimizers()
    rates = []
    for _ in range(40):
        rates.append(found["optimizer"].param_groups[0]["lr"])
        found["optimizer"].step()
        found["lr_scheduler"]["scheduler"].step()

    assert max(rates) == pytest.approx(0.2)  # two processes
    assert rates.index(max(rates)) == 9
    assert rates[-1] < 1e-4
    assert found["optimizer"].param_groups[0]["weight_decay"] == 0.01


@pytest.mark.parametrize(("rate", "slow"), [(1e-2, 1e-3), (1e-4, 1e-4)])
def test_what_a_network_calls_slow_has_a_rate_of_its_own(model, rate, slow):
    """At most 1e-3 at the peak of the schedule, without decay; the others as they were."""
    model.arch.bias = torch.nn.Parameter(torch.zeros(()))
    model.arch.slow = lambda: [model.arch.bias]
    model.learning_rate = rate
    model._trainer = SimpleNamespace(world_size=1, estimated_stepping_batches=100)
    made = model.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    peaks = [0.0, 0.0]
    for _ in range(99):
        rates = [group["lr"] for group in optimizer.param_groups]
        peaks = [max(pair) for pair in zip(peaks, rates, strict=True)]
        optimizer.step()
        scheduler.step()

    assert peaks == pytest.approx([rate, slow], rel=1e-3)
    assert [group["params"] for group in optimizer.param_groups] == [
        [model.arch.weight], [model.arch.bias],
    ]  # fmt: skip
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0]


def test_without_slow_ones_all_parameters_are_alike(model):
    """One group of all."""
    assert parameter_groups(model.arch, 0.1) == [{"params": [model.arch.weight], "lr": 0.1}]


def test_every_training_keeps_its_files(model, tmp_path):
    """Progress, files, the best and the last checkpoint come with the module."""
    model._trainer = Trainer(default_root_dir=tmp_path, logger=False)
    kinds = [type(each) for each in model.configure_callbacks()]

    assert kinds == [Progress, Artifacts, Checkpoints]
