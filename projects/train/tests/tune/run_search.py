"""Run a search of the stub training: CONFIG STORAGE [SAMPLES [ENDPOINT]]; prints the best trial."""

import logging
import sys
from pathlib import Path

from aframe_train.tune.environment import prepare
from aframe_train.tune.settings import Search, TuneResources


def plan(config, storage, samples=6, endpoint=None):
    """Trials of four epochs each, on two workers."""
    prepare(endpoint)
    from aframe_train.tune.search import Plan  # noqa: PLC0415 (Ray reads what is prepared)
    from aframe_train.tune.training import DIRECTORY  # noqa: PLC0415
    from aframe_train.tune.trials import Storage  # noqa: PLC0415

    words = (
        "fit", "--config", str(config), "--seed_everything=7", "--trainer.max_epochs=4",
        f"--trainer.logger.save_dir={DIRECTORY}",
    )  # fmt: skip
    return Plan(
        words,
        Search({"model.learning_rate": "uniform(0.1, 1.2)"}, num_samples=int(samples)),
        Storage(str(storage)),
        TuneResources(name="stubs", num_workers=2, endpoint=endpoint),
        program=(str(Path(__file__).with_name("stub_training.py")),),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    chosen = plan(*sys.argv[1:])
    from aframe_train.tune.search import run

    print(run(chosen).best.number)  # noqa: T201
