"""No step of a training waits for the device: nothing on it is asked for on the host.

Held by the operations themselves, so that it is seen on a machine without a GPU: those whose
result the host must know, a tensor's value or how many elements meet a condition.
"""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from aframe_train.batches import Mixture
from aframe_train.callbacks import Progress
from aframe_train.data import AframeData
from aframe_train.extremes import Extremes
from aframe_train.glitches import GlitchSettings
from aframe_train.metric import TimeSlideAUROC
from aframe_train.model import SupervisedAframe
from aframe_train.networks import ResNet, Stem
from aframe_train.snr import SnrPowerLaw
from aframe_train.trainer import train
from aframe_train.validation import ValidationAmounts

#: Not `equal`: `torch.quantile` asks for it, but on a processor only.
WAITING = {
    "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2",
    "unique_dim", "unique_consecutive", "bincount", "histc",
}  # fmt: skip
#: What a program asks for; on a processor no operation may follow from it.
ASKED = {
    "item", "tolist", "numpy", "cpu", "equal", "allclose", "__bool__", "__float__", "__int__",
    "__index__", "__array__", "__contains__",
}  # fmt: skip
INDEXED = {"index", "index_put", "index_put_", "_unsafe_index"}


class NoAsking(TorchFunctionMode):
    """Refuse functions that bring something to the host."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Run *function*, unless it is such."""
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        to_host = name == "to" and "cpu" in (str(each) for each in (*args[1:], *kwargs.values()))
        repeats = name == "repeat_interleave" and "output_size" not in kwargs
        counted = repeats and any(isinstance(each, torch.Tensor) for each in args[1:])
        if name in ASKED or (to_host and not kwargs.get("non_blocking")) or counted:
            raise AssertionError(name)
        return function(*args, **kwargs)


class NoWaiting(TorchDispatchMode):
    """Refuse what a host must wait for."""

    def __enter__(self):
        """Look at functions as well as at operations."""
        self.asking = NoAsking()
        self.asking.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        """Look no longer."""
        super().__exit__(*error)
        self.asking.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run *function*, unless it is such."""
        name = function.overloadpacket.__name__
        masks = [each for each in args[1] if each is not None] if name in INDEXED else []
        if name in WAITING or any(each.dtype in (torch.bool, torch.uint8) for each in masks):
            raise AssertionError(name)
        return function(*args, **(kwargs or {}))


class Profile(Callback):
    """Look at the steps between the first and the last of an epoch."""

    def __init__(self):
        """Begin with none."""
        activities = [torch.profiler.ProfilerActivity.CPU]
        self.profile = torch.profiler.profile(activities=activities)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """Begin with the second batch."""
        if batch_idx == 1:
            self.profile.start()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """End with the last but one."""
        if batch_idx == 5:
            self.profile.stop()


@pytest.fixture
def data(data_dir, small):
    """The small search, with all that may be done to a batch."""
    mixture = Mixture(
        batch_size=16,
        kernels_per_stretch=2,
        waveform_prob=0.3,
        swap_prob=0.2,
        mute_prob=0.2,
        glitch_prob=0.2,
    )
    made = AframeData(
        ifos=list(small.IFOS), mixture=mixture, batches_per_epoch=7,
        snr=SnrPowerLaw(6, 50, first_minimum=12, decay_steps=10),
        validation=ValidationAmounts(60, 100, 0.5, 3), data_dir=str(data_dir), psd_length=4,
        glitches=GlitchSettings(), **small.PREPROCESSING,
    )  # fmt: skip
    made.setup("fit")
    return made


@pytest.fixture
def model(monkeypatch):
    """A small network."""
    network = ResNet(
        2, layers=[1, 1], widths=[4, 8], strides=[2, 2], stem=Stem(width=4), norm_groups=2
    )
    made = SupervisedAframe(network, TimeSlideAUROC(), 0.1, 0.1)
    monkeypatch.setattr(made, "log", lambda *_, **__: None)
    made._trainer = SimpleNamespace(
        callbacks=[Extremes()], global_step=3, world_size=1, global_rank=0, is_global_zero=False
    )
    return made


@pytest.mark.parametrize("wait", [
    lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: bool(x[0] > 0),
    lambda x: x.masked_fill_(x > 0, 1)[x > 0], torch.Tensor.tolist, torch.Tensor.numpy,
    torch.Tensor.cpu, lambda x: x.to("cpu"), lambda x: x.to(device="cpu"), float, int, bool,
    lambda x: torch.equal(x, x), lambda x: torch.allclose(x, x), lambda x: range(9)[x.long()[0]],
    lambda x: x.repeat_interleave(x.long()), lambda x: 1.0 in x,
])  # fmt: skip
def test_waiting_is_seen(wait):
    """The usual ways in which it slips in."""
    with pytest.raises(AssertionError), NoWaiting():
        wait(torch.arange(3.0))


def test_a_training_step_waits_for_nothing(data, model):
    """Batch, loss, gradient, and what is noted of it."""
    progress = Progress()
    data.training_batches(0)  # reads the data
    progress._said = progress._lap = 1e12
    with NoWaiting():
        for index in (1, 2):
            batch = data.training_batches(index)
            model.on_train_batch_start(batch, index)
            loss = model.training_step(batch)
            loss.backward()
            progress.on_train_batch_end(model._trainer, model, {"loss": loss}, batch, index)

    assert all(each.grad is not None for each in model.parameters())


@torch.no_grad()
def test_a_validation_step_waits_for_nothing(data, model):
    """Batch, scores, and the search for extremes."""
    with NoWaiting():
        for index in (0, 1):
            model.validation_step(data.validation_batches(index))

    assert len(model.metric.background) == 2


def test_the_steps_of_a_training_wait_for_nothing(config, data_dir, tmp_path, small):
    """Lightning's loop and our callbacks included, where nothing is logged, by the profiler."""
    text, mean = config.read_text(), config.read_text().index("  callbacks:\n")
    callback = f"  log_every_n_steps: 100\n  callbacks: [{{class_path: {__name__}.Profile}}]\n"
    config.write_text(text[:mean] + callback + text[text.index("  num_sanity_val_steps", mean) :])
    words = [f"--data.{name}={value}" for name, value in small.PREPROCESSING.items() if value]
    cli = train(
        ["--config", str(config), "--data.ifos=[H1,L1]", f"--data.data_dir={data_dir}",
         f"--trainer.logger.save_dir={tmp_path / 'run'}", "--trainer.max_epochs=1",
         "--model.checkpoint_steps=100", *words]
    )  # fmt: skip
    events = next(c for c in cli.trainer.callbacks if isinstance(c, Profile)).profile.events()
    waits = [each for each in events if each.name in ("aten::_local_scalar_dense", "aten::nonzero")]
    asking = [wait.cpu_parent.cpu_parent for wait in waits]

    assert sum(each.name == "aten::convolution_backward" for each in events) > 5
    # AdamW counts its steps on the host, wherever the weights are.
    assert {parent and parent.name for parent in asking} == {"Optimizer.step#AdamW.step"}
