"""The command `aframe-export`."""

from aframe.program import main as run


def main() -> int:
    """Run `aframe-export`."""
    return run("export", [])
