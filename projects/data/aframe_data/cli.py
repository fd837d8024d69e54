"""The command `aframe-data`."""

from aframe.program import Verb
from aframe.program import main as run
from aframe_data import fetch, query, testing, training, validation

VERBS = (
    Verb("query", query.QuerySettings, query.query, (query.OUTPUT,)),
    Verb("fetch", fetch.FetchSettings, fetch.fetch, (fetch.OUTPUT,)),
    Verb(
        "training_waveforms",
        training.TrainingSettings,
        training.training_waveforms,
        (training.OUTPUT,),
    ),
    Verb(
        "validation_waveforms",
        validation.ValidationSettings,
        validation.validation_waveforms,
        (validation.OUTPUT,),
    ),
    Verb(
        "testing_waveforms",
        testing.TestingSettings,
        testing.testing_waveforms,
        (testing.OUTPUT, testing.OUTPUT_REJECTED),
    ),
)


def main() -> int:
    """Run `aframe-data`."""
    return run("data", VERBS)
