"""The command `aframe-train`."""

from aframe.program import main as run


def main() -> int:
    """Run `aframe-train`."""
    return run("train", [])
