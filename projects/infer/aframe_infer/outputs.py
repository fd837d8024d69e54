"""Files that a search leaves, by name."""

BACKGROUND, FOREGROUND, ZERO_LAG = "background.hdf5", "foreground.hdf5", "0lag.hdf5"
CANDIDATES, TIMESERIES = "candidates.hdf5", "timeseries.hdf5"
EXAMPLES = "examples.hdf5"
PUBLISHES = (BACKGROUND, FOREGROUND, EXAMPLES, ZERO_LAG, CANDIDATES, TIMESERIES)
#: The event file of a mock data challenge.
EVENTS = "events.hdf5"
