"""The command `aframe-infer`."""

from aframe.program import main as run


def main() -> int:
    """Run `aframe-infer`."""
    return run("infer", [])
