"""Stand-ins for the five stages: real records and refusals, tiny files, no science.

What they write is a pure function of settings and inputs, as with the real ones.
The environment steers them: ``STUB_CALLS`` is a file that each call is added to,
``STUB_CHECKS`` one that each look through steps is added to, ``STUB_REFUSE`` a step that is
refused before any runs, ``STUB_FAIL`` a step that is refused when it runs, ``STUB_WAIT`` a step
that waits for ``STUB_GO`` to exist, ``STUB_FILES`` the number of files in a folder, 1 if not given.
"""

import dataclasses
import json
import logging
import os
import sys
import time
import types
from pathlib import Path

if __name__ == "__main__":
    # Only the command line of the real programs needs it, and it takes half of our time.
    sys.modules["jsonargparse"] = types.ModuleType("jsonargparse")

from aframe import program
from aframe.artifacts.record import RESERVED, canonical, settings_digest
from aframe.errors import AframeError

#: What each verb publishes; a name without a suffix is a folder.
PUBLISHES = {
    "data query": ("segments.txt",),
    "data fetch": ("background",),
    "data training_waveforms": ("training_waveforms.hdf5",),
    "data validation_waveforms": ("val_waveforms.hdf5",),
    "data testing_waveforms": ("waveforms.hdf5", "rejected-parameters.hdf5"),
    "train fit": (
        "model.pt", "best.ckpt", "last.ckpt", "batch.hdf5", "val_batch.hdf5",
        "preprocessing.json", "metrics.csv", "config.yaml",
    ),
    "train tune": (
        "model.pt", "best.ckpt", "last.ckpt", "batch.hdf5", "val_batch.hdf5",
        "preprocessing.json", "metrics.csv", "config.yaml",
        "trials.csv", "trials.json", "best.yaml",
    ),
    "export export": ("model_repo",),
    "infer infer": (
        "background.hdf5", "foreground.hdf5", "examples.hdf5", "0lag.hdf5", "candidates.hdf5",
    ),
    "sv veto": ("background.hdf5", "foreground.hdf5", "0lag.hdf5", "candidates.hdf5"),
    "sv estimate": ("sensitive_volume.h5",),
    "sv p_astro": ("p_astro.hdf5",),
    "sv report": ("report.html",),
}  # fmt: skip
#: A stand-in whose test went away ends by itself (s).
_LONGEST_WAIT = 600.0


def main(stage, argv):
    """Run the stand-in of ``aframe-<stage>``; returns its exit status."""
    if argv == ["check"]:
        return _look_through(stage, json.load(sys.stdin))
    verb, flag, path, *rest = argv
    step = f"{stage} {verb}"
    if flag != "--config" or rest not in ([], ["--remake"]):
        sys.stderr.write(f"aframe-{stage}: error: unknown words {argv}\n")
        return 2
    settings = _as_dataclass(json.loads(Path(path).read_text()))
    stand_in = program.Verb(verb, type(settings), lambda *given: _write(step, *given), ())
    stand_in = dataclasses.replace(stand_in, publishes=PUBLISHES[step])
    try:
        program.run_verb(stage, stand_in, settings, remake=bool(rest))
    except AframeError as error:
        sys.stderr.write(f"aframe-{stage}: error: {error}\n")
        return program.USER_ERROR
    return 0


def _look_through(stage, steps):
    _note({"step": f"{stage} check", "verbs": [verb for verb, _ in steps]}, "STUB_CHECKS")
    for number, (verb, _) in enumerate(steps):
        if f"{stage} {verb}" == os.environ.get("STUB_REFUSE"):
            error = {"problem": "no such prior", "found": "X", "wanted_by": "prior", "fix": "Y"}
            sys.stdout.write(json.dumps({"step": number, **error}) + "\n")
            return program.USER_ERROR
    return 0


def _as_dataclass(content):
    fields = {**content, "inputs": content.get("inputs") or None}
    if fields["inputs"]:
        fields["inputs"] = dataclasses.make_dataclass("Inputs", fields["inputs"])(
            **fields["inputs"]
        )
    known = {each.name for each in dataclasses.fields(program.Resources)}
    resources = {name: value for name, value in fields["resources"].items() if name in known}
    fields["resources"] = program.Resources(**resources)
    return dataclasses.make_dataclass("Settings", fields)(**fields)


def _write(step, settings, draft):
    plain = {key: value for key, value in vars(settings).items() if key not in RESERVED}
    inputs = program._input_digests(settings)
    _tell(step, settings)
    if step == os.environ.get("STUB_WAIT"):
        _wait(Path(os.environ["STUB_GO"]))
    if step == os.environ.get("STUB_FAIL"):
        raise AframeError(
            "the stand-in was told to fail",
            found=step,
            wanted_by="STUB_FAIL",
            fix="run without STUB_FAIL",
        )
    files = range(int(os.environ.get("STUB_FILES", "1")))
    for name in PUBLISHES[step]:
        folder = [f"{name}/part-{number}.hdf5" for number in files]
        for path in (draft.path / each for each in ([name] if Path(name).suffix else folder)):
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{name} of {settings_digest(canonical(plain), inputs)}\n")


def _wait(go):
    end = time.monotonic() + _LONGEST_WAIT
    while not go.exists() and time.monotonic() < end:
        time.sleep(0.02)


def _tell(step, settings):
    sys.stderr.write(f"{step} at work\n")
    call = {"step": step, "output": settings.output}
    _note(call, "STUB_CALLS")


def _note(call, where):
    with Path(os.environ[where]).open("a") as calls:
        calls.write(json.dumps(call) + "\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
