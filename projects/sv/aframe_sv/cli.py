"""The command `aframe-sv`."""

from aframe.program import Verb
from aframe.program import main as run
from aframe_sv.challenge import OUTPUT as DISTANCES
from aframe_sv.challenge import ChallengeSettings, challenge
from aframe_sv.compare import OUTPUT as COMPARISON
from aframe_sv.compare import CompareSettings, compare
from aframe_sv.estimate import OUTPUT as VOLUMES
from aframe_sv.estimate import EstimateSettings, estimate, refuse_unknown_prior
from aframe_sv.p_astro import OUTPUT as PROBABILITIES
from aframe_sv.p_astro import PAstroSettings, p_astro
from aframe_sv.p_astro import refuse_unknown_prior as refuse_no_population
from aframe_sv.report import OUTPUT as PAGE
from aframe_sv.report import ReportSettings, report
from aframe_sv.veto import OUTPUTS as VETOED
from aframe_sv.veto import VetoSettings, veto

VERBS = (
    Verb("veto", VetoSettings, veto, publishes=VETOED),
    Verb(
        "estimate",
        EstimateSettings,
        estimate,
        publishes=(VOLUMES,),
        check=refuse_unknown_prior,
    ),
    Verb(
        "p_astro",
        PAstroSettings,
        p_astro,
        publishes=(PROBABILITIES,),
        check=refuse_no_population,
    ),
    Verb("challenge", ChallengeSettings, challenge, publishes=(DISTANCES,)),
    Verb("report", ReportSettings, report, publishes=(PAGE,)),
    Verb("compare", CompareSettings, compare, publishes=(COMPARISON,)),
)


def main() -> int:
    """Run `aframe-sv`."""
    return run("sv", VERBS)
