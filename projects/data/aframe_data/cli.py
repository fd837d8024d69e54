"""The command `aframe-data`."""

from aframe.program import main as run


def main() -> int:
    """Run `aframe-data`."""
    return run("data", [])
