"""Where work runs besides the machine at hand: an HTCondor pool."""
