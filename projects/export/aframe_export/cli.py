"""The command `aframe-export`."""

from aframe.draft import Draft
from aframe.program import Verb
from aframe.program import main as run
from aframe_export.settings import ExportSettings


def _export(settings: ExportSettings, draft: Draft) -> None:
    """Write the network and its streaming search as TorchScript and, where it can be, ONNX."""
    # torch takes seconds to load.
    from aframe_export.export import export  # noqa: PLC0415

    export(settings, draft)


VERBS = (Verb("export", ExportSettings, _export, ("model_repo",)),)


def main() -> int:
    """Run `aframe-export`."""
    return run("export", VERBS)
