"""The command `aframe-infer`."""

from aframe.program import Verb
from aframe.program import main as run
from aframe_infer.challenge import OUTPUT as EVENTS
from aframe_infer.challenge import ChallengeSettings, challenge
from aframe_infer.inference import infer
from aframe_infer.results import (
    BACKGROUND,
    CANDIDATES,
    EXAMPLES,
    FOREGROUND,
    TIMESERIES,
    ZERO_LAG,
)
from aframe_infer.server import check
from aframe_infer.settings import InferSettings

PUBLISHES = (BACKGROUND, FOREGROUND, EXAMPLES, ZERO_LAG, CANDIDATES, TIMESERIES)
VERBS = (
    Verb("infer", InferSettings, infer, PUBLISHES, check),
    Verb("challenge", ChallengeSettings, challenge, (EVENTS,)),
)


def main() -> int:
    """Run `aframe-infer`."""
    return run("infer", VERBS)
