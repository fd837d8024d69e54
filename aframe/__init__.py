"""A machine-learning search for gravitational waves, from strain to sensitive volume."""

__version__ = "0.1.0"
