"""`python -m train fit --config train.yaml …`: the training under its published name."""

import logging
import sys

from aframe.errors import USER_ERROR, AframeError


def main() -> int:
    """Run the training's command line; returns its exit status."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s train: %(message)s", datefmt="%H:%M:%S", force=True
    )
    from aframe_train.trainer import train  # noqa: PLC0415 (torch: seconds)

    try:
        train(sys.argv[1:])
    except AframeError as error:
        print(f"train: error: {error}", file=sys.stderr)  # noqa: T201
        return USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
