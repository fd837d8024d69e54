"""The command `aframe-data`."""

from aframe.program import Verb
from aframe.program import main as run
from aframe_data import fetch, query, testing, training, validation
from aframe_data.injections import refuse_misfits

VERBS = (
    Verb("query", query.QuerySettings, query.query, (query.OUTPUT,), query.refuse_unfit_source),
    Verb("fetch", fetch.FetchSettings, fetch.fetch, (fetch.OUTPUT,), fetch.refuse_unfit_source),
    Verb(
        "training_waveforms",
        training.TrainingSettings,
        training.training_waveforms,
        (training.OUTPUT,),
        refuse_misfits,
    ),
    Verb(
        "validation_waveforms",
        validation.ValidationSettings,
        validation.validation_waveforms,
        (validation.OUTPUT,),
        refuse_misfits,
    ),
    Verb(
        "testing_waveforms",
        testing.TestingSettings,
        testing.testing_waveforms,
        (testing.OUTPUT, testing.OUTPUT_REJECTED),
        refuse_misfits,
    ),
)


def main() -> int:
    """Run `aframe-data`."""
    return run("data", VERBS)
