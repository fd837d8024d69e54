"""The command `aframe-train`."""

from aframe.program import Verb
from aframe.program import main as run
from aframe_train.fit import PUBLISHES, FitSettings, fit

VERBS = (Verb("fit", FitSettings, fit, publishes=PUBLISHES),)


def main() -> int:
    """Run `aframe-train`."""
    return run("train", VERBS)
