"""The command `aframe-sv`."""

from aframe.program import main as run


def main() -> int:
    """Run `aframe-sv`."""
    return run("sv", [])
