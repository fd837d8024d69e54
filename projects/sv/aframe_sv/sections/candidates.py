"""The events of zero lag, and what the detectors and the network saw around the loudest."""

from __future__ import annotations

from collections.abc import Sequence

from aframe_sv.clock import Clock, read_clock
from aframe_sv.evidence import Evidence, utc
from aframe_sv.neighborhood import read_candidates
from aframe_sv.page import Fold, Section, Table
from aframe_sv.sections.closeup import close_up
from aframe_sv.sections.headline import Ranked
from aframe_sv.sections.probability import marked

LISTED = 10


def section(evidence: Evidence) -> Section:
    """List the events of zero lag and show the loudest."""
    name, title = "candidates", "Zero-lag events"
    background, zero_lag = evidence.background, evidence.zero_lag
    if background is None or zero_lag is None:
        return Section(
            name, title, ["There is no zero lag in this run, or no background to rank it."]
        )
    if not len(zero_lag):
        return Section(name, title, ["The search found no event at zero lag."])
    order = range(len(zero_lag) - 1, max(len(zero_lag) - 1 - LISTED, -1), -1)
    ranked = [Ranked.of(background, zero_lag, index) for index in order]
    found = evidence.probabilities
    p_astro = (
        [marked(found, rank) for rank in range(len(ranked))] if found and found.classes else None
    )
    clock = read_clock(evidence.inputs)
    paragraphs = [_introduction(len(zero_lag), len(ranked))]
    if clock:
        paragraphs.append(_times(clock))
    if evidence.inputs.candidates is None:
        paragraphs.append("Their strain and scores were not kept in this run.")
        return Section(name, title, paragraphs, tables=[table(ranked, clock, p_astro)])
    paragraphs.append("Open an event below to see its strain, its Q-scan and its scores.")
    shown = read_candidates(evidence.inputs.candidates, LISTED)
    folds = [
        Fold(
            f"Event {rank}: {utc(candidate.time)} UTC, statistic {candidate.statistic:.2f}",
            pictures=close_up(candidate, evidence, f"event {rank}"),
            group=name,
            opened=rank == 1,
        )
        for rank, candidate in enumerate(shown, 1)
    ]
    return Section(name, title, paragraphs, tables=[table(ranked, clock, p_astro)], folds=folds)


def _introduction(events: int, listed: int) -> str:
    which = "listed below" if events == listed else f"of which the {listed} loudest are below"
    count = "One event" if events == 1 else f"{events:,} events"
    return (
        f"{count} at zero lag, {which}. Expected by chance: how many noise events as loud the "
        "searched time holds on average."
    )


def _times(clock: Clock) -> str:
    return (
        f"The loudest of them are timed on a fine grid. There, {clock.injections} loud injections "
        f"scatter by {clock.scatter:.3f} s about their true times: the ± of events that are louder "
        "than all background. A fainter event is timed less well."
    )


def table(ranked: list[Ranked], clock: Clock | None, p_astro: Sequence[str] | None = None) -> Table:
    """List events, loudest first; those louder than all background stand out."""
    rows = [
        (
            str(rank),
            utc(event.time),
            event.gps(clock),
            f"{event.statistic:.2f}",
            event.rate,
            ("" if event.louder else "≲ ") + f"{event.expected:.2g}",
            *([p_astro[rank - 1]] if p_astro else []),
        )
        for rank, event in enumerate(ranked, 1)
    ]
    return Table(
        (
            *("", "Time (UTC)", "GPS (s)", "Statistic", "False alarm rate", "Expected by chance"),
            *(["p_astro"] if p_astro else []),
        ),
        rows,
        "≲ marks one count in all the background, where no background event is as loud. The limit "
        "at 90 % confidence is 2.3 times higher."
        + (" * marks a probability that is extrapolated there." if p_astro else ""),
        emphasize=sum(not event.louder for event in ranked),
    )
