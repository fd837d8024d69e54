"""The command `aframe-train`."""

from aframe.program import Verb
from aframe.program import main as run
from aframe_train.fit import FitSettings, fit
from aframe_train.outputs import PUBLISHES as TRAINING
from aframe_train.tune.settings import TuneSettings
from aframe_train.tune.verb import PUBLISHES as SEARCH
from aframe_train.tune.verb import tune


def _rehearse(settings: FitSettings) -> None:
    # torch takes seconds to load.
    from aframe_train.rehearsal import rehearse  # noqa: PLC0415

    rehearse(settings)


VERBS = (
    Verb("fit", FitSettings, fit, publishes=TRAINING, check=_rehearse),
    Verb("tune", TuneSettings, tune, publishes=SEARCH, check=_rehearse),
)


def main() -> int:
    """Run `aframe-train`."""
    return run("train", VERBS)
