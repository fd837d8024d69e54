"""Stands for `python -m train` in a search: the same words and files, in no time.

The score is the learning rate, so that the best trial is known. A rate above 1 fails.
"""

import json
import os
import sys
import time
from pathlib import Path


def train(here, rate, epochs, rows):
    """Train."""
    note(here, "start")
    for epoch in range(len(rows), epochs):
        time.sleep(float(os.environ.get("STUB_SECONDS", "0.01")))
        if rate > 1:
            raise RuntimeError("CUDA out of memory")
        rows.append(rate + 1e-3 * epoch)
        table = "".join(f"{number},{score}\n" for number, score in enumerate(rows))
        write(here / "metrics.csv", f"epoch,valid_auroc\n{table}")
        write(here / "last.ckpt", json.dumps(rows))
    for name in ("model.pt", "best.ckpt", "config.yaml", "preprocessing.json"):
        write(here / name, name)
    note(here, "end")


def write(path, text):
    """Write a file, whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)


def note(here, event):
    """Add a line to what happened."""
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "WANDB_RUN_GROUP")
    said = {"event": event, "time": time.time(), "words": sys.argv[1:]}
    with (here / "events").open("a") as file:
        file.write(json.dumps(said | {name: os.environ.get(name) for name in names}) + "\n")


if __name__ == "__main__":
    words = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:] if "=" in word)
    train(
        Path(words["trainer.logger.save_dir"]),
        float(words["model.learning_rate"]),
        int(words["trainer.max_epochs"]),
        json.loads(Path(words["ckpt_path"]).read_text()) if "ckpt_path" in words else [],
    )
