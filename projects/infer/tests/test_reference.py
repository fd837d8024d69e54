"""The whole search against a slow one in plain numpy and scipy, in double precision.

From strain to events without an index instead of a shift, a copied score or a batch: every
slide is whitened anew, with the injections in its strain, and its kernels scored one by one.
"""

import shutil
from functools import lru_cache

import h5py
import numpy as np
import pytest
import scipy.signal
import torch

from aframe.artifacts.events import Events
from aframe.artifacts.ledger import read_ledger
from aframe.draft import Draft
from aframe_infer.inference import infer
from aframe_infer.settings import InferInputs, InferSettings

RATE, START, IFOS = 256, 1_126_000_000.0, ("H1", "L1")
KERNEL, EDGE, PSD, BATCH, STRIDE = RATE, RATE // 4, 4 * RATE, 4, RATE // 4
WINDOW = KERNEL + (BATCH - 1) * STRIDE + 2 * EDGE
INTEGRATION, CLUSTER = 1.5, 8.0
#: Largest difference of a score: of single precision, and with injections of those kernels that
#: hold one of an SNR below 0.01, which the engine leaves out.
TOLERANCE = {"background": 1e-5, "foreground": 2e-4}


class Network(torch.nn.Module):
    """Filters, rectified, and their mean: convolution enough to mix detectors and times."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.filters = torch.nn.Conv1d(2, 6, 9, 2)

    def forward(self, kernels):
        """Give one score a kernel."""
        return 30 * (torch.relu(self.filters(kernels)).mean((1, 2)) - 0.1)[:, None]


WEIGHT, BIAS = (each.detach().double().numpy() for each in Network().filters.parameters())


def _score(kernel):
    """The same of one kernel, in numpy."""
    windows = np.lib.stride_tricks.sliding_window_view(kernel, 9, axis=-1)[:, ::2]
    filtered = np.einsum("cnk,fck->fn", windows, WEIGHT) + BIAS[:, None]
    return 30 * (np.maximum(filtered, 0).mean() - 0.1)


def _whiten(strain, noise):
    """Whiten a window by the PSD of *noise*, with a filter truncated to half a second."""
    psd = scipy.signal.welch(noise, RATE, "hann", RATE // 2, average="median")[1]
    frequencies = np.fft.rfftfreq(len(strain), 1 / RATE)
    gain = 1 / np.sqrt(np.interp(frequencies, np.linspace(0, RATE / 2, len(psd)), psd))
    gain[: int(20 / frequencies[1])] = 0
    gain[-1] = 0
    response = np.fft.irfft(gain, len(strain))
    taper = scipy.signal.get_window("hann", 2 * EDGE)
    response[:EDGE] *= taper[EDGE:]
    response[-EDGE:] *= taper[:EDGE]
    response[EDGE:-EDGE] = 0
    gain = np.sqrt(2 / RATE) * np.abs(np.fft.rfft(response))
    spectrum = np.fft.rfft(strain - strain.mean())
    return np.fft.irfft(spectrum * gain, len(strain))[EDGE:-EDGE]


def _block(clean, dirty, block):
    """Whiten the window behind a block of one detector's kernels."""
    end = (block + 1) * BATCH * STRIDE
    begin = end - WINDOW
    noise = clean[max(0, begin - PSD) :][:PSD]
    return _whiten(np.pad(dirty, (WINDOW, WINDOW))[begin + WINDOW : end + WINDOW], noise)


def _kernels(clean, dirty, numbers):
    """Cut the kernels of these *numbers* of one detector."""
    blocks = {block: _block(clean, dirty, block) for block in {n // BATCH for n in numbers}}
    return [blocks[n // BATCH][n % BATCH * STRIDE :][:KERNEL] for n in numbers]


def _scores(clean, dirty, shifts):
    """Score every kernel of a slide of strain ``(ifo, time)``, from six before the search on."""
    size = clean.shape[-1] - int(max(shifts) * RATE)
    numbers = range(PSD // STRIDE - 6, size // STRIDE)
    rows = [
        _kernels(quiet, loud, [number + int(shift * 4) for number in numbers])
        for quiet, loud, shift in zip(clean, dirty, shifts, strict=True)
    ]
    return np.array([_score(np.stack(pair)) for pair in zip(*rows, strict=True)])


def _events(scores, start):
    """Average, walk, date: one output after the other."""
    window, half = int(4 * INTEGRATION) + 1, int(4 * CLUSTER) // 2
    outputs = [scores[i : i + window].mean() for i in range(len(scores) - window + 1)]
    position, found = int(np.argmax(outputs[:half])), []
    while position < len(outputs):
        ahead = outputs[position + 1 : position + 1 + half]
        if len(ahead) and max(ahead) > outputs[position]:
            position += 1 + int(np.argmax(ahead))
        else:
            found.append(position)
            position += half + 1
    times = start + (PSD // STRIDE + np.array(found)) / 4 - 0.25 - INTEGRATION
    return np.array(outputs)[found], times


def _read(directory):
    (path,) = directory.glob("*.hdf5")
    with h5py.File(path) as file:
        start = float(file["H1"].attrs["x0"])
        return np.stack([file[ifo][:] for ifo in IFOS]).astype(np.float64), start


def _with_injections(clean, start, ledger, shifts):
    """Strain of a slide's detectors with the waveforms in it, where they were shifted to."""
    dirty = clean.copy()
    for row in np.flatnonzero((ledger.parameters["shift"] == shifts).all(1)):
        for ifo, shift, strain in zip(IFOS, shifts, dirty, strict=True):
            wave = ledger.waveforms[ifo.lower()][row]
            coalescence = int((ledger.parameters["injection_time"][row] - start) * RATE)
            begin = coalescence - 3 * RATE + int(shift * RATE)
            last = min(begin + len(wave), len(strain))
            strain[max(begin, 0) : last] += wave[max(-begin, 0) : last - begin]
    return dirty


@pytest.fixture(scope="module")
def found(model_repository, data, tmp_path_factory):
    """What the engine finds: two slides with injections, another, and zero lag."""
    root = tmp_path_factory.mktemp("engine")
    repository = shutil.copytree(model_repository, root / "model_repo")
    torch.jit.save(torch.jit.script(Network()), repository / "aframe/1/model.pt")
    settings = InferSettings(
        inputs=InferInputs(repository, data.background, data.injections, data.zero_lag),
        output=root,
        ifos=IFOS,
        sample_rate=RATE,
        Tb=500,
        batch_size=BATCH,
        psd_length=4,
        integration_window_length=INTEGRATION,
        cluster_window_length=CLUSTER,
        return_timeseries=True,
    )
    (root / "draft").mkdir()
    infer(settings, Draft(root / "draft"))
    return root / "draft"


@pytest.fixture(scope="module")
def slow(data):
    """What the slow search finds in a slide: scores and events of strain, and with injections."""
    ledger = read_ledger(data.injections)
    background, zero_lag = _read(data.background), _read(data.zero_lag)

    @lru_cache
    def search(shifts, injected):
        clean, start = background if any(shifts) else zero_lag
        dirty = _with_injections(clean, start, ledger, shifts) if injected else clean
        scores = _scores(clean, dirty, shifts)
        return scores, *_events(scores, start)

    return search


SLIDES = ((0.0, 1.0), (0.0, 2.0), (0.0, 3.0), (0.0, 0.0))


@pytest.mark.parametrize("shifts", SLIDES)
def test_every_score_is_that_of_the_slow_search(found, slow, shifts):
    """Of strain, and of strain with injections in it."""
    with h5py.File(found / "timeseries.hdf5") as file:
        (path,) = (each["path"] for each in file["index"] if tuple(each["shifts"]) == shifts)
        series = {name: each[:] for name, each in file[path].items()}

    assert set(series) == {"background", "foreground"} if shifts in SLIDES[:2] else {"background"}
    for name, scores in series.items():
        wanted = slow(shifts, name == "foreground")[0]
        assert wanted.std() > 0.1
        np.testing.assert_allclose(scores, wanted, rtol=0, atol=TOLERANCE[name])


@pytest.mark.parametrize("name", ["background.hdf5", "0lag.hdf5"])
def test_every_event_is_that_of_the_slow_search(found, slow, name):
    """As many in each slide, at the same times, as loud."""
    events = Events.read(found / name)
    slides = {tuple(shift) for shift in events.shift.tolist()}

    assert slides == (set(SLIDES[:3]) if name == "background.hdf5" else {SLIDES[3]})
    for shifts in slides:
        statistic, time = slow(shifts, False)[1:]
        mine = np.flatnonzero((events.shift == shifts).all(1))
        mine = mine[np.argsort(events.detection_time[mine])]
        np.testing.assert_allclose(events.detection_statistic[mine], statistic, atol=1e-5)
        if name == "background.hdf5":
            raw = events.detection_time[mine] - events.time_offset
            np.testing.assert_allclose(raw, time, rtol=0, atol=1e-5)


def test_every_injection_has_the_event_of_the_slow_search(found, slow, data):
    """The nearest in time of its own slide."""
    ledger = read_ledger(found / "foreground.hdf5")
    for row, shifts in enumerate(ledger.parameters["shift"].tolist()):
        statistic, time = slow(tuple(shifts), True)[1:]
        mine = np.abs(time - ledger.parameters["injection_time"][row]).argmin()

        raw = ledger.parameters["detection_time"][row] - ledger.metadata["time_offset"]
        assert raw == pytest.approx(time[mine], rel=0, abs=1e-5)
        assert ledger.parameters["detection_statistic"][row] == pytest.approx(
            statistic[mine], abs=TOLERANCE["foreground"]
        )
