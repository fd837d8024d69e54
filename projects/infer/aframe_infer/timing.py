"""Event times finer than the stride, and calibrated on injections.

The raw time of an event lies on the grid of the strides and has a constant offset,
which depends on where in its kernel the network likes a signal best. Around an event
the kernels are scored anew on a finer grid; the offset of either kind of time is the
median over the loudest injections, whose times are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from aframe.artifacts.strain import read_strain
from aframe.transforms.streaming import Stream
from aframe_infer.injections import Injections, signal
from aframe_infer.scores import score
from aframe_infer.slides import Branch, Search
from aframe_infer.statistic import integrate, integration_size

#: Kernels a second around an event, where the sample rate allows so many.
FINE_RATE = 32.0
#: How far before and after the last kernel of an event kernels end (s).
BEFORE, AFTER = 4.0, 2.0


@dataclass(frozen=True)
class View:
    """What the search sees around an event.

    Args:
        whitened: Whitened strain, shape ``(ifo, time)``.
        whitened_start: GPS time of its first sample (s).
        sample_rate: Its samples a second (Hz).
        scores: Scores of kernels that end *rate* times a second.
        integrated: Average of the scores over the integration window.
        start: GPS time of the end of the first kernel (s).
        rate: Kernels a second (Hz).
    """

    whitened: Float[np.ndarray, "ifo time"]
    whitened_start: float
    sample_rate: float
    scores: Float[np.ndarray, " output"]
    integrated: Float[np.ndarray, " output"]
    start: float
    rate: float

    @property
    def time(self) -> float:
        """GPS time of the event (s), up to an offset."""
        weights = np.exp(self.integrated - self.integrated.max())
        return self.start + float(weights.argmax()) / self.rate


@dataclass(frozen=True)
class Event:
    """An event as the search's grid gives it.

    Args:
        branch: The slide of the segment that it is in.
        raw_time: Its time before calibration (GPS s).
        statistic: Its detection statistic.
        row: Row of the injection that it recovers; -1 for an event in plain strain.
    """

    branch: Branch
    raw_time: float
    statistic: float
    row: int = -1


class Viewer:
    """Look at events on a finer grid than that of the search.

    Args:
        search: What every branch shares.
        injections: All injections.
    """

    def __init__(self, search: Search, injections: Injections) -> None:
        self.search = search
        self.injections = injections
        self.device = torch.device(search.device)
        self.network = search.repository.load_network(self.device)
        self.whitener = search.repository.whitener.to(self.device)

    def __call__(self, event: Event) -> View:
        """Whiten and score what lies around an event."""
        stream, begin = _window(self.search, event)
        file, rate = event.branch.file, stream.sample_rate
        strain, noise = self._strain(event, stream, begin)
        with torch.inference_mode():
            psd = self.whitener.psd(noise)[None]
            whitened = self.whitener(strain[None], psd)[0]
            kernels = stream.unfold(whitened).transpose(0, 1)
            numbers = np.arange(stream.batch_size)
            scores = score(self.network, lambda each: kernels[each], numbers, self.device)
        fine = stream.inference_sampling_rate
        size = integration_size(fine, self.search.integration_window_length)
        first = file.start + (begin + stream.edge_size) / rate
        return View(
            whitened.cpu().numpy(),
            first,
            rate,
            scores,
            integrate(scores, size),
            first + stream.kernel_length,
            fine,
        )

    def _strain(self, event: Event, stream: Stream, begin: int) -> tuple[Tensor, Tensor]:
        """Read the strain to whiten, with the injection, and that before it for the PSD."""
        file, shifts, ifos = event.branch.file, event.branch.shifts, self.search.ifos
        before = max(0, begin - stream.psd_size)
        size = stream.psd_size, stream.window_size
        strain, noise = [], []
        for ifo, shift in zip(ifos, shifts, strict=True):
            start = file.start + shift
            data, quiet = (
                read_strain(
                    file,
                    [ifo],
                    start + first / stream.sample_rate,
                    start + (first + length) / stream.sample_rate,
                )[0]
                for first, length in ((begin, size[1]), (before, size[0]))
            )
            if event.row >= 0:
                data = data + self._signal(
                    event.row, ifo, file.start + begin / stream.sample_rate, stream
                )
            strain.append(torch.from_numpy(data))
            noise.append(torch.from_numpy(quiet))
        return torch.stack(strain).to(self.device), torch.stack(noise).to(self.device)

    def _signal(self, row: int, ifo: str, start: float, stream: Stream) -> np.ndarray:
        return signal(
            self.injections,
            np.array([row]),
            ifo,
            start=start,
            shift=0.0,
            size=stream.window_size,
            sample_rate=stream.sample_rate,
        )


def _window(search: Search, event: Event) -> tuple[Stream, int]:
    """Lengths of the finer stream around an event, and the first sample of its window."""
    stream, shifts = search.stream, event.branch.shifts
    rate = stream.inference_sampling_rate
    after_start = event.raw_time - event.branch.file.start + stream.fduration / 2
    last = round((after_start + search.integration_window_length) * rate) + 1
    step = stream.stride_size // _refinement(stream)
    shortest = stream.kernel_size + 2 * stream.edge_size
    longest = round((event.branch.file.duration - max(shifts)) * stream.sample_rate)
    end = last * stream.stride_size
    before = min(round(BEFORE * stream.sample_rate), end - shortest) // step
    after = min(round(AFTER * stream.sample_rate), longest - end) // step
    fine = replace(
        stream,
        inference_sampling_rate=rate * _refinement(stream),
        batch_size=before + 1 + after,
    )
    return fine, end - before * step - shortest


def _refinement(stream: Stream) -> int:
    """Fine kernels a stride: as many as divide it, up to :data:`FINE_RATE` a second."""
    most = max(1, int(FINE_RATE / stream.inference_sampling_rate))
    return max(n for n in range(1, most + 1) if stream.stride_size % n == 0)


#: Injections that calibrate: so many of the loudest.
CALIBRATORS = 256


@dataclass(frozen=True)
class Calibration:
    """What to add to raw times.

    Args:
        injections: Number of injections that calibrated.
        grid_offset: To add to times on the search's grid (s).
        grid_scatter: Median absolute deviation of these, times 1.4826 (s).
        fine_offset: To add to times of the finer grid (s).
        fine_scatter: Likewise.
    """

    injections: int
    grid_offset: float
    grid_scatter: float
    fine_offset: float
    fine_scatter: float


def calibrate(
    viewer: Viewer, recovered: Sequence[Event], injected: Float[np.ndarray, " injection"]
) -> Calibration:
    """Compare the times of the loudest recovered injections with the true ones.

    Args:
        viewer: Looks at the events.
        recovered: Events by the row of the injection they recover.
        injected: GPS time of each injection (s).
    """
    loudest = sorted(recovered, key=lambda event: -event.statistic)[:CALIBRATORS]
    if not loudest:
        return Calibration(0, 0.0, 0.0, 0.0, 0.0)
    true = injected[[event.row for event in loudest]]
    grid = _center(true - [event.raw_time for event in loudest])
    fine = _center(true - [viewer(event).time for event in loudest])
    return Calibration(len(loudest), *grid, *fine)


def _center(differences: Float[np.ndarray, " event"]) -> tuple[float, float]:
    """Median, and the scatter about it as the standard deviation of a normal law."""
    middle = float(np.median(differences))
    return middle, 1.4826 * float(np.median(np.abs(differences - middle)))
