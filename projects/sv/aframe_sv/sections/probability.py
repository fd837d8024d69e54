"""How probable it is that an event is a signal, and how far that was tested."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aframe_sv.evidence import Evidence, Probabilities, utc
from aframe_sv.page import (
    COLORS,
    FAINT,
    INK,
    Picture,
    Section,
    Table,
    axes,
    label_plainly,
    legend,
    picture,
)

LISTED, TITLE = 10, "Probability of astrophysical origin"
#: Least and largest probability that is drawn.
_ENDS = (1e-5, 1 - 1e-4)
_TICKS = (1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_MEANING = (
    "p_astro is the probability that an event is a signal and not noise: the rate at which mergers "
    "make events of its loudness, over that rate and the rate of noise. The first comes from the "
    "injections that were found, as a population uniform in comoving volume and source-frame time "
    "with the masses and spins of {prior}; the second from the background."
)
_RATES = "Merger rates: {rates} per Gpc³ and year. Odds are proportional to them. Source: {source}."
_CLASSES = (
    "Classes are by source-frame masses, below {limit:g} M☉ a neutron star, and an event has "
    "the classes of the injections that are as loud as it: its own masses are not measured."
)
_MISSING = "The injections hold no {}, so that no event can be of such a class here."
_EXTRAPOLATED = (
    "An event louder than all background (*) is held against an exponential tail of the noise, "
    "continued to where none was seen. Its probability is an extrapolation."
)
_UNKNOWN = (
    "Too few injections were found, or there is too little background, to tell how probable it is "
    "that an event is a signal."
)
_SIMULATED = (
    "The background is simulated noise, without glitches. Probabilities made from it are not "
    "astrophysical: they say how an event compares with ideal noise."
)


def section(evidence: Evidence) -> Section | None:
    """Show probabilities, what they are made of, and how they hold."""
    found = evidence.probabilities
    if found is None:
        return None
    if not found.classes:
        return Section("probability", TITLE, [_UNKNOWN])
    rates = ", ".join(f"{name} {rate:g}" for name, rate in found.rates.items())
    missing = [name for name in found.rates if name not in found.classes]
    said = found.attributes
    paragraphs = [
        _MEANING.format(prior=said["source_prior"]),
        _RATES.format(rates=rates, source=said["rates_source"]),
        _CLASSES.format(limit=said["heaviest_neutron_star"])
        + (f" {_MISSING.format(' and no '.join(missing))}" if missing else ""),
        *([_EXTRAPOLATED] if found.events["extrapolated"][:LISTED].any() else []),
    ]
    pictures = [densities(found)]
    if len(found.reliability["promised"]):
        pictures.append(reliability(found.reliability))
    else:
        paragraphs.append("Too few events are between signal and noise to test the probabilities.")
    return Section(
        "probability",
        TITLE,
        paragraphs,
        notices=[_SIMULATED] if evidence.background_is_simulated else [],
        tables=[table(found)] if len(found.events["p_astro"]) else [],
        pictures=pictures,
    )


def in_words(p: float) -> str:
    """Tell a probability to two digits, from either end.

    Example:
        >>> in_words(0.5), in_words(0.9987), in_words(0.00021), in_words(0.99999), in_words(1e-9)
        ('0.50', '0.9987', '0.00021', '> 0.9999', '< 0.0001')
    """
    if p < 1e-4:  # noqa: PLR2004
        return "< 0.0001"
    if p > 1 - 1e-4:
        return "> 0.9999"
    digits = max(2, 1 - int(np.floor(np.log10(min(p, 1 - p)))))
    return f"{p:.{digits}f}"


def marked(found: Probabilities, index: int) -> str:
    """Probability of an event, loudest first, marked where it is extrapolated."""
    return in_words(found.events["p_astro"][index]) + (
        "*" if found.events["extrapolated"][index] else ""
    )


def table(found: Probabilities) -> Table:
    """List the probabilities of the loudest events."""
    kinds = (*found.classes, "terrestrial")
    rows = [
        (
            str(index + 1),
            utc(found.events["detection_time"][index]),
            f"{found.events['detection_statistic'][index]:.2f}",
            marked(found, index),
            *(in_words(found.events[f"p_{kind}"][index]) for kind in kinds),
        )
        for index in range(min(LISTED, len(found.events["p_astro"])))
    ]
    return Table(
        ("", "Time (UTC)", "Statistic", "p_astro", *kinds),
        rows,
        "Probability that each of the loudest zero-lag events is a signal, and its classes."
        + (" * marks an extrapolation." if found.events["extrapolated"][:LISTED].any() else ""),
    )


def densities(found: Probabilities) -> Picture:
    """Plot the rate densities of signals and noise, and the probability from both."""
    statistic, noise = found.model["statistic"], found.model["noise"]
    top = max(float(noise.max()), *(float(found.model[name].max()) for name in found.classes))
    with axes() as ax:
        ax.plot(statistic, noise, color=FAINT, label="noise")
        for color, name in zip(COLORS, found.classes, strict=False):
            ax.plot(statistic, found.model[name], color=color, label=name)
        events = found.events["detection_statistic"][:LISTED]
        ax.plot(events, np.full(len(events), 2 * top), "v", color=INK, ms=4, label="zero lag")
        floor = max(1e-9 * top, 1e-6)
        ax.set(
            yscale="log",
            ylim=(floor, 5 * top),
            xlabel="Detection statistic",
            ylabel="Events a year and unit",
        )
        legend(ax)
        return picture(
            ax,
            caption="How many events of each loudness mergers and noise make: p_astro is the share "
            "of the signals. The noise above its loudest events is an exponential.",
            alt="Rate densities of signals and noise against the detection statistic; the two are "
            f"equal at {crossing(found):.2f}.",
        )


def crossing(found: Probabilities) -> float:
    """Least statistic, above most noise, at which signals are as frequent as noise."""
    statistic, noise = found.model["statistic"], found.model["noise"]
    signals = np.sum([found.model[name] for name in found.classes], axis=0)
    above = np.arange(len(noise)) >= noise.argmax()
    where = np.flatnonzero(above & (signals >= noise))
    return float(statistic[where[0]] if len(where) else statistic[-1])


def reliability(curve: Mapping[str, np.ndarray]) -> Picture:
    """Plot the observed share of signals against the promised probability."""
    promised, observed = curve["promised"], curve["observed"]
    with axes((5.2, 4.4)) as ax:
        ends = np.array(_ENDS)
        ax.plot(ends, ends, color=FAINT, linestyle=(0, (4, 3)), label="as promised")
        ax.errorbar(
            promised,
            observed,
            [observed - curve["low"], curve["high"] - observed],
            fmt="o",
            ms=4,
            capsize=2,
            color=COLORS[0],
            label="held-out events",
        )
        ax.set(
            xscale="logit",
            yscale="logit",
            xlim=_ENDS,
            ylim=_ENDS,
            xlabel="Promised probability",
            ylabel="Observed share of signals",
        )
        for axis in (ax.xaxis, ax.yaxis):
            label_plainly(axis, _TICKS)
        legend(ax)
        last = float(promised.max())
        return picture(
            ax,
            caption="How far the probabilities hold: half of the injections and of the background "
            "was scored by a model of the other half, and the other way round. In bins of the "
            "promised probability, the share that are signals, with one standard deviation. "
            f"Above {in_words(last)} there is no noise left to test with.",
            alt=f"Observed share of signals against promised probability in {len(promised)} bins "
            f"from {in_words(float(promised.min()))} to {in_words(last)}.",
        )
