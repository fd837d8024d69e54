"""Start a trial's training so that it ends with the process that asked for it.

``python -m aframe_train.tune.child PARENT -m MODULE …`` or ``… PARENT SCRIPT …``.
"""

from __future__ import annotations

import runpy
import sys

from aframe.processes import work_for_parent


def main() -> None:
    """Run a module or script as Python would."""
    parent, *words = sys.argv[1:]
    work_for_parent(int(parent))
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main()
