"""The command `aframe-infer`."""

from aframe.draft import Draft
from aframe.program import Verb
from aframe.program import main as run
from aframe_infer.outputs import EVENTS, PUBLISHES
from aframe_infer.server import check
from aframe_infer.settings import ChallengeSettings, InferSettings

# torch takes seconds to load, which neither help nor what is checked beforehand should wait for.


def _infer(settings: InferSettings, draft: Draft) -> None:
    """Rank time slides, injections and zero lag."""
    from aframe_infer.inference import infer  # noqa: PLC0415

    infer(settings, draft)


def _challenge(settings: ChallengeSettings, draft: Draft) -> None:
    """Search the strain of a file of the mock data challenge, and write its event file."""
    from aframe_infer.challenge import challenge  # noqa: PLC0415

    challenge(settings, draft)


VERBS = (
    Verb("infer", InferSettings, _infer, PUBLISHES, check),
    Verb("challenge", ChallengeSettings, _challenge, (EVENTS,)),
)


def main() -> int:
    """Run `aframe-infer`."""
    return run("infer", VERBS)
