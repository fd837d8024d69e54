"""The signals that were injected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from aframe.artifacts.ledger import Ledger, read_ledger, read_metadata
from aframe.artifacts.strain import list_strain
from aframe_sv.evidence import Evidence
from aframe_sv.page import COLORS, Picture, Section, axes, ifo_color, label_plainly, legend, picture
from aframe_sv.sections.ranking import SNR_TICKS
from aframe_sv.sections.strain import Spectrum, asd

#: Quantiles of the SNR whose injections are shown.
_EXAMPLES = (0.1, 0.5, 0.95)
#: Time shown before and after the merger (s).
_BEFORE, _AFTER = 0.6, 0.06
_BINS = 50


def section(evidence: Evidence) -> Section:
    """Show some injections and the distribution of their SNRs."""
    name, title, path = "injections", "Injections", evidence.inputs.injections
    if path is None:
        return Section(name, title, ["This run has no injections."])
    metadata = read_metadata(path)
    if not metadata["length"]:
        return Section(name, title, ["The file of injections is empty."])
    snr = read_ledger(path, parameters=("snr",), waveforms=()).parameters["snr"]
    spectra = _spectra(evidence)
    ifos = tuple(metadata["ifos"] or evidence.ifos)
    highpass = evidence.preprocessing.highpass if evidence.preprocessing else None
    pictures = [
        signal(example, index, ifos, spectra, highpass)
        for index, example in enumerate(examples(path, snr))
    ]
    return Section(
        name,
        title,
        [
            "Simulated signals, added to the strain to measure the search. "
            + _counts(evidence.inputs.rejected_parameters, metadata)
        ],
        facts=[
            ("Injected", f"{metadata['length']:,}"),
            ("Waveform", str(metadata["waveform_approximant"] or "not recorded")),
            ("Population", str(metadata["prior"] or "not recorded").rpartition(".")[-1]),
        ],
        pictures=[*pictures, snrs(snr)],
    )


def _counts(rejected: Path | None, metadata: dict[str, Any]) -> str:
    drawn, injected = metadata["num_injections"], metadata["length"]
    if rejected is None or not drawn:
        return "How many sources were drawn in all was not kept."
    faint = read_metadata(rejected)["length"]
    return (
        f"Of {drawn:,} sources drawn, {injected:,} were injected and {faint:,} were too faint: "
        "they count as missed."
    )


def _spectra(evidence: Evidence) -> dict[str, Spectrum]:
    if evidence.inputs.test_background is None:
        return {}
    files = list_strain(evidence.inputs.test_background, evidence.ifos)
    return {ifo: asd(files, ifo) for ifo in evidence.ifos or files[0].ifos}


def examples(path: Path, snr: Float[np.ndarray, " injection"]) -> list[Ledger]:
    """Read a faint, a middling and a loud injection, with their waveforms."""
    order = np.argsort(snr, kind="stable")
    rows = [int(order[int(share * (len(order) - 1))]) for share in _EXAMPLES]
    return [read_ledger(path, rows=slice(row, row + 1)) for row in dict.fromkeys(rows)]


def whiten(
    strain: Float[np.ndarray, " time"],
    sample_rate: float,
    spectrum: Spectrum,
    highpass: float | None = None,
) -> Float[np.ndarray, " time"]:
    """Divide a signal by the noise, so that it is in standard deviations of a sample of noise.

    The sum of its squares is then its squared SNR in that noise.

    Args:
        strain: The signal.
        sample_rate: Its sample rate (Hz).
        spectrum: Frequencies (Hz) and amplitude spectral density (1/sqrt(Hz)) of the noise.
        highpass: Frequency below which nothing is kept (Hz).
    """
    frequency = np.fft.rfftfreq(len(strain), 1 / sample_rate)
    noise = np.interp(frequency, *spectrum) * np.sqrt(sample_rate / 2)
    kept = (frequency >= (highpass or 0)) & (frequency < sample_rate / 2) & (noise > 0)
    series = np.fft.rfft(strain)
    return np.fft.irfft(
        np.divide(series, noise, out=np.zeros_like(series), where=kept), len(strain)
    )


def signal(
    example: Ledger,
    index: int,
    ifos: tuple[str, ...],
    spectra: dict[str, Spectrum],
    highpass: float | None,
) -> Picture:
    """Plot an injected signal in each detector."""
    parameters = {name: values[0] for name, values in example.parameters.items()}
    rate, metadata = float(example.metadata["sample_rate"]), example.metadata
    merger = float(metadata["duration"] - metadata["right_pad"])
    with axes() as ax:
        for ifo in ifos:
            strain = example.waveforms[ifo.lower()][0].astype(float)
            if ifo in spectra:
                strain = whiten(strain, rate, spectra[ifo], highpass)
            times = np.arange(len(strain)) / rate - merger
            near = (times >= -_BEFORE) & (times <= _AFTER)
            ax.plot(times[near], strain[near], color=ifo_color(ifo), label=ifo, linewidth=1.1)
        unit = "Whitened strain (sd of noise)" if spectra else "Strain"
        masses = f"{parameters['mass_1']:.0f} + {parameters['mass_2']:.0f} M☉"
        redshift = f"{parameters['redshift']:.2f}"
        ax.set(
            xlabel="Time to merger (s)",
            ylabel=unit,
            title=f"SNR {parameters['snr']:.1f}: {masses} (detector frame), z = {redshift}",
            xlim=(-_BEFORE, _AFTER),
        )
        legend(ax)
        how = "whitened, as the network sees it" if spectra else "as it reaches the detectors"
        return picture(
            ax,
            caption=f"Injection {index + 1} without its noise, {how}. The masses are those seen "
            "at the detector, (1 + z) times those of the source. Noise adds about one standard "
            "deviation to every sample.",
            alt=f"Injected signal of {masses} in the detector's frame at redshift {redshift}, "
            f"network SNR {parameters['snr']:.1f}.",
        )


def snrs(snr: Float[np.ndarray, " injection"]) -> Picture:
    """Plot the distribution of the injections' SNRs."""
    edges = np.geomspace(snr.min(), max(snr.max(), 1.01 * snr.min()), _BINS + 1)
    with axes() as ax:
        ax.stairs(*np.histogram(snr, edges), color=COLORS[0], fill=True, alpha=0.8)
        ax.set(xscale="log", xlabel="Network SNR", ylabel="Injections")
        label_plainly(ax.xaxis, SNR_TICKS)
        return picture(
            ax,
            caption="How loud the injections are: most sources are far away and faint, so most are "
            "near the threshold of rejection.",
            alt=f"Histogram of the SNR of {len(snr):,} injections, median {np.median(snr):.1f}, "
            f"largest {snr.max():.0f}.",
        )
