"""Noise spectra: design curves by name, curves from files, estimates from strain."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import lal
import lalsimulation
import numpy as np
from jaxtyping import Float
from scipy.signal import spectrogram

from aframe.artifacts.strain import StrainFile, read_strain
from aframe.errors import AframeError

Frequencies = Float[np.ndarray, " frequency"]
Curve = Callable[[Frequencies], Frequencies]

_PREFIX = "SimNoisePSD"
#: Signatures of those SimNoisePSD functions that are a curve by themselves.
_SERIES = "(REAL8FrequencySeries psd, double flow) -> int"
_SCALAR = "(double f) -> double"
#: What brings strain near one, where single precision is at its best.
_SCALE = 1e22
#: Step at which a design curve is tabulated (Hz).
_TABLE_STEP = 1 / 16
#: Numbers of periodograms to hold at a time: those of a file of 20000 s at 2048 Hz.
_MOST_POWERS = 2**26
#: Lowest frequency at which a design curve is believed (Hz).
LOWEST = 10.0


@dataclass(frozen=True)
class Asd:
    """An amplitude spectral density, a straight line in log-log between its points.

    Args:
        frequencies: Ascending, above zero (Hz).
        values: One-sided amplitude density (1/sqrt(Hz)).
    """

    frequencies: Frequencies
    values: Frequencies

    def __call__(self, frequencies: Frequencies) -> Frequencies:
        """Interpolate; beyond the ends the curve keeps its last value."""
        logs = np.log(self.frequencies), np.log(self.values)
        return np.exp(np.interp(np.log(frequencies), *logs))


def design_curves() -> list[str]:
    """Names of LALSimulation's noise curves, without ``SimNoisePSD`` before them."""
    names = [name for name in dir(lalsimulation) if name.startswith(_PREFIX)]
    return [name.removeprefix(_PREFIX) for name in names if _signature(name) in (_SERIES, _SCALAR)]


def _signature(name: str) -> str:
    text = (getattr(lalsimulation, name).__doc__ or "").partition("\n")[0]
    return text.removeprefix(name).strip()


def load_asd(name: str, *, nyquist: float, wanted_by: str) -> Asd:
    """Load the amplitude spectral density called *name*.

    Args:
        name: A design curve of LALSimulation (``aLIGOO3LowT1800545``, with or without
            ``SimNoisePSD``), or the path of a file: text of two columns, or HDF5 with the
            datasets ``frequency`` and ``asd``; in Hz and 1/sqrt(Hz).
        nyquist: Frequency up to which the curve is needed (Hz).
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If there is no such curve or file, or it is no spectrum up to *nyquist*.
    """
    bare = name.removeprefix(_PREFIX)
    if bare in design_curves():
        asd = _design_curve(bare, nyquist)
    elif Path(name).is_file():
        asd = _from_file(Path(name))
    else:
        near = difflib.get_close_matches(bare, design_curves(), cutoff=0.4) or [
            "aLIGOO3LowT1800545"
        ]
        raise AframeError(
            "there is no such noise curve",
            found=f"{name}, neither a curve of LALSimulation nor a file",
            wanted_by=wanted_by,
            fix=f"near it are {', '.join(near)}; or give a file of frequency and ASD",
        )
    _refuse_short(asd, name, nyquist, wanted_by)
    return asd


def _design_curve(name: str, nyquist: float) -> Asd:
    function = getattr(lalsimulation, _PREFIX + name)
    count = math.ceil(nyquist / _TABLE_STEP) + 2
    frequencies = np.arange(count) * _TABLE_STEP
    if _signature(_PREFIX + name) == _SERIES:
        series = lal.CreateREAL8FrequencySeries(
            "", lal.LIGOTimeGPS(0), 0, _TABLE_STEP, lal.DimensionlessUnit, count
        )
        function(series, LOWEST / 2)
        psd = series.data.data
    else:
        psd = np.array([0.0, *(function(float(f)) for f in frequencies[1:])])
    # LALSimulation leaves the first and last bin of a series empty.
    good = (frequencies >= LOWEST) & (psd > 0) & np.isfinite(psd)
    return Asd(frequencies[good], np.sqrt(psd[good]))


def _from_file(path: Path) -> Asd:
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                frequencies, values = file["frequency"][:], file["asd"][:]
        else:
            frequencies, values = np.loadtxt(path, dtype=float, ndmin=2, unpack=True)
        keep = frequencies > 0
        frequencies, values = frequencies[keep], values[keep]
        if len(values) < 2 or not (np.diff(frequencies) > 0).all():  # noqa: PLR2004
            raise ValueError("its frequencies do not ascend")
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError("an amplitude is not a number above zero")
    except (OSError, ValueError, KeyError) as error:
        raise AframeError(
            "a noise curve cannot be read",
            found=f"{path}: {error}",
            wanted_by="the `psds` of a simulated source",
            fix="give text of two columns, or HDF5 datasets `frequency` (Hz) and `asd`",
        ) from error
    return Asd(frequencies.astype(float), values.astype(float))


def _refuse_short(asd: Asd, name: str, nyquist: float, wanted_by: str) -> None:
    # A table may well end one bin below the Nyquist frequency of its own sampling.
    if (
        len(asd.frequencies)
        and asd.frequencies[0] < nyquist
        and asd.frequencies[-1] >= 0.99 * nyquist
    ):
        return
    spans = [f"{f:g}" for f in asd.frequencies[[0, -1]]] if len(asd.frequencies) else ["nothing"]
    raise AframeError(
        "a noise curve does not reach the Nyquist frequency",
        found=f"{name} spans {' to '.join(spans)} Hz",
        wanted_by=f"{wanted_by}, up to {nyquist:g} Hz",
        fix="choose a curve that reaches further, or a lower sample_rate",
    )


def median_psd(
    file: StrainFile, ifo: str, fftlength: float, *, stretch: float = 512.0
) -> Frequencies:
    r"""Estimate the PSD of a detector over a whole strain file.

    The median, corrected for its bias, over half-overlapping Hann-windowed segments.
    Strain is read a stretch at a time, and of a long file once for each band of
    frequencies whose periodograms can be held together.

    Args:
        file: Strain, at least as long as a segment.
        ifo: Detector.
        fftlength: Length of a segment (s).
        stretch: Strain to load at a time (s).

    Returns:
        One-sided PSD (1/Hz) at multiples of ``1 / fftlength``.

    Source:
        B. Allen et al., FINDCHIRP, arXiv:gr-qc/0509116, eqs. B.11, B.12.
    """
    size = round(fftlength * file.sample_rate)
    total = round(file.segment.duration * file.sample_rate)
    count, bins = 1 + (total - size) // (size - size // 2), size // 2 + 1
    band = max(1, _MOST_POWERS // count)
    medians = []
    for low in range(0, bins, band):
        powers = np.empty((min(band, bins - low), count), np.float32)
        begin = 0
        for part in _periodograms(file, ifo, size, stretch):
            powers[:, begin : begin + part.shape[1]] = part[low : low + band]
            begin += part.shape[1]
        medians.append(np.median(powers, axis=1, overwrite_input=True))
    return np.concatenate(medians).astype(float) / (_median_bias(count) * _SCALE**2)


def _periodograms(
    file: StrainFile, ifo: str, size: int, stretch: float
) -> Iterator[Float[np.ndarray, "frequency segment"]]:
    """Powers of the strain, scaled, of the segments of one stretch of the file after another."""
    segment, step = file.segment, size - size // 2
    steps = max(1, round(stretch * file.sample_rate) // step)
    total = round(segment.duration * file.sample_rate)
    for first in range(0, total - size + 1, steps * step):
        last = min(first + (steps - 1) * step + size, total)
        times = (segment.start + sample / file.sample_rate for sample in (first, last))
        part = read_strain(file, [ifo], *times)[0]
        # float32 periodograms of strain would underflow.
        scaled = part.astype(float) * _SCALE
        yield spectrogram(scaled, file.sample_rate, "hann", size, size - step)[2]


def _median_bias(count: int) -> float:
    """Expected median of *count* unit exponential variates."""
    terms = np.arange(1, (count - 1) // 2 + 1)
    return float(1 + np.sum(1 / (2 * terms + 1) - 1 / (2 * terms)))
