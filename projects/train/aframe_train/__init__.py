"""Training of the search's network."""

import os

# Threads spin while they wait for one another: where a machine has other work, mostly for one that
# is not running. A shorter while (GNU's libgomp reads it when torch is loaded) costs nothing else.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
