"""What the search found, said with what its background allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe_sv.clock import Clock, read_clock
from aframe_sv.evidence import Evidence, utc
from aframe_sv.far import in_words, measured_rate, poisson_interval, rate_in_words
from aframe_sv.page import Section
from aframe_sv.sections.sensitivity import distance_in_words, in_solar_masses, rough

_QUIET = (
    "It lies at {time} and has a statistic of {statistic:.2f}: {louder:,} of the background events "
    "in {span} are at least as loud. In the {searched} searched at zero lag, noise like that of "
    "the background gives on average {expected:.2g} events as loud ({fewest:.2g} to {most:.2g}: "
    "one standard deviation of the count)."
)
_LOUD = (
    "The loudest lies at {time} and has a statistic of {statistic:.2f}. No background event is as "
    "loud, so its false alarm rate is not measured: it is below about {rate}, one count in all the "
    "background there is. In the {searched} searched at zero lag, noise like that of the "
    "background then gives below about {expected:.2g} events as loud. At 90 % confidence the "
    "limits are {rate_limit} and {expected_limit:.2g} events."
)
#: Mean of a Poisson distribution that gives no count in one of ten cases.
_LIMIT = -math.log(1 - 0.9)
_SIMULATED = "The background is {} of time slides of simulated, stationary Gaussian noise; "
_UNKNOWN = (
    "No record says where the strain of the background or of the zero lag came from. The rates "
    "hold only if both are of one kind."
)
#: What to say where the background, and then the zero lag, is simulated, is not, or may be.
_NOTICES = {
    (True, False): _SIMULATED + "the zero lag is strain that was read from files, such as real "
    "detector data. Simulated noise has no glitches, no wandering lines and another sensitivity, "
    "so that the rates here compare the events with ideal noise. They are not astrophysical false "
    "alarm rates, and say nothing of the origin of an event.",
    (True, True): _SIMULATED + "the zero lag is simulated too. Nothing here is an astrophysical "
    "false alarm rate.",
    (True, None): _SIMULATED + "no record says what the zero lag is. Nothing here is an "
    "astrophysical false alarm rate.",
    (False, True): "The background is strain that was read from files and the zero lag is "
    "simulated: the rates here compare events with noise of another kind.",
    (False, False): "",
    (False, None): _UNKNOWN,
    (None, True): _UNKNOWN,
    (None, False): _UNKNOWN,
    (None, None): _UNKNOWN,
}


@dataclass(frozen=True)
class Ranked:
    """A zero-lag event held against the background.

    Args:
        statistic: Its detection statistic.
        time: Its GPS time (s).
        louder: Background events at least as loud.
        Tb: Time of the background (s).
        searched: Time searched at zero lag (s).
    """

    statistic: float
    time: float
    louder: int
    Tb: float
    searched: float

    @classmethod
    def of(cls, background: Events, zero_lag: Events, index: int) -> Ranked:
        """Rank the event *index* of *zero_lag*."""
        statistic = zero_lag.detection_statistic[index]
        louder = int(background.counts_above(statistic))
        time = float(zero_lag.detection_time[index])
        return cls(float(statistic), time, louder, background.Tb, zero_lag.Tb)

    def gps(self, clock: Clock | None) -> str:
        """GPS time (s), with the error of *clock* where the event is as loud as what set it."""
        return f"{self.time:.2f}" + (clock.plus_minus if clock and not self.louder else "")

    @property
    def far(self) -> float:
        """False alarm rate (1/yr); a bound where no background event is as loud."""
        return max(self.louder, 1) * JULIAN_YEAR / self.Tb

    @property
    def expected(self) -> float:
        """Number of noise events as loud that the time searched holds on average, or its bound."""
        return max(self.louder, 1) * self.searched / self.Tb

    @property
    def rate(self) -> str:
        """The false alarm rate in words with its counting error, marked where it is a bound."""
        return measured_rate(self.louder, self.Tb)


def section(evidence: Evidence) -> Section:
    """Say what the search found."""
    background, zero_lag = evidence.background, evidence.zero_lag
    if background is None or zero_lag is None or not len(zero_lag):
        paragraphs = [_nothing(evidence)]
        facts: list[tuple[str, str]] = []
    else:
        loudest, clock = Ranked.of(background, zero_lag, -1), read_clock(evidence.inputs)
        above = int((background.counts_above(zero_lag.detection_statistic) == 0).sum())
        paragraphs = _verdict(loudest, above, background_kind(evidence), clock)
        facts = [
            ("Loudest event, UTC", utc(loudest.time)),
            ("GPS time", f"{loudest.gps(clock)} s"),
            ("Detection statistic", f"{loudest.statistic:.2f}"),
            ("False alarm rate", loudest.rate),
        ]
    return Section(
        "result",
        "Result",
        paragraphs=paragraphs,
        notices=notices(evidence),
        facts=[*facts, *_facts(evidence)],
    )


def _nothing(evidence: Evidence) -> str:
    if evidence.zero_lag is None:
        return "This run searched no zero lag: it measures the search, and found no event."
    if evidence.background is None:
        return "Zero lag was searched, but there is no background to rank its events against."
    searched = in_words(evidence.zero_lag.Tb)
    return f"The search found no event at all in the {searched} that it searched at zero lag."


def _verdict(event: Ranked, above: int, kind: str, clock: Clock | None) -> list[str]:
    span = in_words(event.Tb)
    words = {
        "time": f"{utc(event.time)} UTC (GPS {event.gps(clock)})",
        "statistic": event.statistic,
        "louder": event.louder,
        "span": span,
        "rate": rate_in_words(event.far),
        "searched": in_words(event.searched),
        "expected": event.expected,
        "rate_limit": rate_in_words(_LIMIT * event.far),
        "expected_limit": _LIMIT * event.expected,
    }
    if event.louder:
        counts = poisson_interval(np.array(event.louder))
        words["fewest"], words["most"] = (count * event.searched / event.Tb for count in counts)
        first = f"The loudest event has a false alarm rate of {event.rate} in the {kind}background."
        return [first, _QUIET.format_map(words)]
    who = "One event is" if above == 1 else f"{above:,} events are"
    return [f"{who} louder than all {span} of {kind}background.", _LOUD.format_map(words)]


def background_kind(evidence: Evidence) -> str:
    """Word before "background" that says what it is made of."""
    return "simulated " if evidence.background_is_simulated else ""


def notices(evidence: Evidence) -> list[str]:
    """What limits any statement about the events of zero lag."""
    if evidence.background is None or evidence.zero_lag is None:
        return []
    mine, theirs = evidence.background_is_simulated, evidence.zero_lag_is_simulated
    said = _NOTICES[mine, theirs]
    return [said.format(in_words(evidence.background.Tb))] if said else []


def _facts(evidence: Evidence) -> list[tuple[str, str]]:
    facts = []
    if evidence.background is not None:
        what = f"Background ({len(evidence.background):,} events)"
        facts.append((what, in_words(evidence.background.Tb)))
    if evidence.zero_lag is not None:
        facts.append(("Searched at zero lag", in_words(evidence.zero_lag.Tb)))
    if evidence.recovered is not None:
        facts.append(("Injections", f"{len(evidence.recovered.offset):,}"))
    if evidence.volumes is not None:
        rate = rate_in_words(evidence.volumes.fars[0])
        for name, curve in evidence.volumes.curves.items():
            what = f"Sensitive distance, {in_solar_masses(name)}, at {rate}"
            mark = " (rough)" if rough(curve)[0] else ""
            facts.append((what + mark, distance_in_words(curve, 0)))
    return facts
