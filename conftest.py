"""What all tests share: hypothesis in no hurry, steady examples, own tasks and logs, Ctrl-C."""

import logging
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Tests measure no time, since others may use the machine; and a change that breaks nothing must
# not fail on an example that nobody had tried: search for those with HYPOTHESIS_PROFILE=search.
settings.register_profile(
    "search", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=1000
)
settings.register_profile(
    "steady", settings.get_profile("search"), max_examples=100, derandomize=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# Whoever starts the tests in the background makes them, and all that they start, deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def tasks_of_this_test() -> None:
    """Luigi keeps tasks by their parameters, also those of another test's run directory."""
    if register := sys.modules.get("luigi.task_register"):
        register.Register.clear_instance_cache()


@pytest.fixture(autouse=True)
def log_of_this_test() -> Iterator[None]:
    """Commands that a test runs in its own process set up the log, to a stream that then ends."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


#: A bucket on S3, and images, for the tests that ask for one.
pytest_plugins = ["container_images", "object_store"]
