"""Event times finer than the stride, and calibrated on injections.

The raw time of an event lies on the grid of the strides and has a constant offset, which
depends on where in its kernel the network likes a signal to be. Around an event that
matters kernels are scored anew on a finer grid. The offset of either kind of time is the
median over loud injections, whose times are known; no event of the strain has a say in it.
The very loudest alone would not do: their times differ by 0.02 s from those of others. Nor would
those of the highest statistic, which is higher where a signal happens to suit the grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aframe.artifacts.strain import read_strain
from aframe.transforms.stream import Stream
from aframe_infer.injections import Injections, signal
from aframe_infer.scores import score
from aframe_infer.slides import Branch, Search
from aframe_infer.statistic import integrate, kernel_number

#: Kernels a second around an event, where the sample rate allows so many.
FINE_RATE = 32.0
#: How far before and after the average of an event there are others on the finer grid (s).
BEFORE, AFTER = 4.0, 2.0
#: How far from its grid time an event's finer time may lie, but for the offset (s).
REACH = 1.0
#: Share of the peak above which an integrated score counts for the time.
PLATEAU = 0.9
#: Share of the recovered injections that calibrate, those of the highest SNR.
LOUD = 1 / 8
#: As many of them as are looked at on the finer grid, of all loudnesses: they know a median to
#: 0.003 s. All calibrate the times on the grid, which scatter by half a stride.
CALIBRATORS = 128
#: An event this far from an injection is another's (s).
RECOVERED = 2.0


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


@dataclass(frozen=True)
class Found:
    """Events of several branches, by column.

    Args:
        branches: The branches.
        owner: Number of the branch that each event is in.
        raw_time: Its time before calibration (GPS s).
        statistic: Its detection statistic.
        row: Row of the injection that it recovers; -1 for an event in plain strain.
    """

    branches: Sequence[Branch]
    owner: Int[np.ndarray, " event"]
    raw_time: Float[np.ndarray, " event"]
    statistic: Float[np.ndarray, " event"]
    row: Int[np.ndarray, " event"]

    def __len__(self) -> int:
        return len(self.statistic)

    def __getitem__(self, events: Int[np.ndarray, " event"]) -> Found:
        """Take some events, in the order of their numbers."""
        columns = (self.owner, self.raw_time, self.statistic, self.row)
        return Found(self.branches, *(column[events] for column in columns))

    def __iter__(self) -> Iterator[Event]:
        """Give the events one by one."""
        for owner, time, statistic, row in zip(
            self.owner, self.raw_time, self.statistic, self.row, strict=True
        ):
            yield Event(self.branches[owner], float(time), float(statistic), int(row))


@dataclass(frozen=True)
class View:
    """What the search sees around an event.

    Args:
        whitened: Whitened strain, shape ``(ifo, time)``.
        whitened_start: GPS time of its first sample (s).
        sample_rate: Its samples a second (Hz).
        scores: Scores of kernels that end *rate* times a second.
        integrated: Average of the scores over the integration window, of as many kernels
            at the end as have the whole window before them.
        start: GPS time of the end of the first kernel (s).
        rate: Kernels a second (Hz).
        last: Which kernel is the last one of the event.
    """

    whitened: Float[np.ndarray, "ifo time"]
    whitened_start: float
    sample_rate: float
    scores: Float[np.ndarray, " output"]
    integrated: Float[np.ndarray, " output"]
    start: float
    rate: float
    last: int

    @property
    def integrated_start(self) -> float:
        """GPS time of the end of the last kernel in the first average (s)."""
        return self.start + (len(self.scores) - len(self.integrated)) / self.rate

    @property
    def time(self) -> float:
        """GPS time of the event (s), up to an offset: the middle of its plateau."""
        reach = round(REACH * self.rate)
        last = self.last - (len(self.scores) - len(self.integrated))
        first = max(0, last - reach)
        near = self.integrated[first : last + reach + 1]
        height = near - np.median(self.integrated)
        weights = np.maximum(height - PLATEAU * height.max(), 0)
        # An integral that is nowhere above its median has no plateau.
        place = np.average(np.arange(len(near)), weights=weights) if weights.any() else last - first
        return self.integrated_start + float(first + place) / self.rate


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
        stream, begin, last = _window(self.search, event)
        with torch.inference_mode():
            psd = self.whitener.psd(self._noise(event, stream, begin))
            whitened = self.whitener(self._strain(event, stream, begin)[None], psd[None])[0]
            kernels = stream.unfold(whitened).transpose(0, 1)
            numbers = np.arange(stream.batch_size)
            scores = score(self.network, lambda each: kernels[each], numbers, self.device)
        start = event.branch.file.start + (begin + stream.edge_size) / stream.sample_rate
        coarse = self.search.stream
        refined = round(stream.inference_sampling_rate / coarse.inference_sampling_rate)
        return View(
            whitened=whitened.cpu().numpy(),
            whitened_start=start,
            sample_rate=stream.sample_rate,
            scores=scores,
            integrated=integrate(scores, self.search.window * refined),
            start=start + stream.kernel_length,
            rate=stream.inference_sampling_rate,
            last=last,
        )

    def _noise(self, event: Event, stream: Stream, begin: int) -> Tensor:
        """Read the strain before the window, or the segment's first, for the PSD."""
        return self._read(event, stream, max(0, begin - stream.psd_size), stream.psd_size)

    def _strain(self, event: Event, stream: Stream, begin: int) -> Tensor:
        """Read the strain to whiten, with the injection if there is one."""
        strain = self._read(event, stream, begin, stream.window_size)
        if event.row < 0:
            return strain
        start = event.branch.file.start + begin / stream.sample_rate
        signals = [
            signal(
                self.injections,
                np.array([event.row]),
                ifo,
                start=start,
                shift=0.0,
                size=stream.window_size,
                sample_rate=stream.sample_rate,
            )
            for ifo in self.search.ifos
        ]
        return strain + torch.from_numpy(np.stack(signals)).to(self.device)

    def _read(self, event: Event, stream: Stream, begin: int, size: int) -> Tensor:
        file, shifts = event.branch.file, event.branch.shifts
        starts = [file.start + shift + begin / stream.sample_rate for shift in shifts]
        rows = [
            read_strain(file, [ifo], start, start + size / stream.sample_rate)[0]
            for ifo, start in zip(self.search.ifos, starts, strict=True)
        ]
        return torch.from_numpy(np.stack(rows)).to(self.device)


def _window(search: Search, event: Event) -> tuple[Stream, int, int]:
    """Lengths of the finer stream around an event, its first sample, its kernel there."""
    stream, file = search.stream, event.branch.file
    number = kernel_number(stream, file.start, search.integration_window_length, event.raw_time)
    end = (number + 1) * stream.stride_size
    refinement = _refinement(stream)
    step = stream.stride_size // refinement
    shortest = stream.kernel_size + 2 * stream.edge_size
    longest = round((file.duration - max(event.branch.shifts)) * stream.sample_rate)
    # The first average has its scores before it.
    lead = round(BEFORE * stream.sample_rate) + search.window * stream.stride_size
    before = min(lead, end - shortest) // step
    after = min(round(AFTER * stream.sample_rate), longest - end) // step
    fine = replace(
        stream,
        inference_sampling_rate=stream.inference_sampling_rate * refinement,
        batch_size=before + 1 + after,
    )
    return fine, end - before * step - shortest, before


def _refinement(stream: Stream) -> int:
    """Fine kernels a stride: as many as divide it, up to :data:`FINE_RATE` a second."""
    most = max(1, int(FINE_RATE / stream.inference_sampling_rate))
    return max(n for n in range(1, most + 1) if stream.stride_size % n == 0)


@dataclass(frozen=True)
class Calibration:
    """What to add to raw times.

    Args:
        injections: Number of injections that calibrated the finer times.
        grid_offset: To add to times on the search's grid (s).
        grid_scatter: Standard deviation of these, by the median absolute deviation (s).
        fine_offset: To add to times of the finer grid (s).
        fine_scatter: Likewise.
    """

    injections: int
    grid_offset: float
    grid_scatter: float
    fine_offset: float
    fine_scatter: float


def calibrate(
    viewer: Viewer,
    recovered: Found,
    injected: Float[np.ndarray, " injection"],
    snr: Float[np.ndarray, " injection"],
) -> Calibration:
    """Compare the times of loud recovered injections with the true ones.

    Args:
        viewer: Looks at the events.
        recovered: Event nearest to each injection.
        injected: GPS time of each injection (s), by its row.
        snr: SNR of each injection, likewise.
    """
    found = recovered[
        np.flatnonzero(np.abs(recovered.raw_time - injected[recovered.row]) < RECOVERED)
    ]
    if not len(found):
        return Calibration(0, 0.0, 0.0, 0.0, 0.0)
    loudest_first = found[np.argsort(-snr[found.row], kind="stable")]
    enough = min(max(CALIBRATORS, int(LOUD * len(found))), len(found))
    loud = loudest_first[np.arange(enough)]
    few = loud[np.linspace(0, enough - 1, min(CALIBRATORS, enough)).round().astype(int)]
    grid = _center(injected[loud.row] - loud.raw_time)
    fine = _center(injected[few.row] - [viewer(event).time for event in few])
    return Calibration(len(few), *grid, *fine)


def _center(differences: Float[np.ndarray, " event"]) -> tuple[float, float]:
    """Median, and the scatter about it as the standard deviation of a normal law."""
    middle = float(np.median(differences))
    return middle, 1.4826 * float(np.median(np.abs(differences - middle)))
