"""Run a search of the stub training: CONFIG STORAGE [ENDPOINT]; prints the best trial."""

import logging
import sys
from pathlib import Path

from aframe_train.tune.search import Plan, run
from aframe_train.tune.settings import Search, TuneResources
from aframe_train.tune.training import DIRECTORY
from aframe_train.tune.trials import Storage


def plan(config, storage, endpoint=None, samples=6):
    """Six trials on two workers, of four epochs each."""
    words = (
        "fit", "--config", str(config), "--seed_everything=7", "--trainer.max_epochs=4",
        f"--trainer.logger.save_dir={DIRECTORY}",
    )  # fmt: skip
    return Plan(
        words,
        Search({"model.learning_rate": "uniform(0.1, 1.2)"}, num_samples=samples),
        Storage(str(storage)),
        TuneResources(name="stubs", num_workers=2, endpoint=endpoint),
        program=(str(Path(__file__).with_name("stub_training.py")),),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    print(run(plan(*sys.argv[1:])).best.number)  # noqa: T201
