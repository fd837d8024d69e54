"""The command `aframe-export`."""

from aframe.program import Verb
from aframe.program import main as run
from aframe_export.export import ExportSettings, export

VERBS = (Verb("export", ExportSettings, export, ("model_repo",)),)


def main() -> int:
    """Run `aframe-export`."""
    return run("export", VERBS)
