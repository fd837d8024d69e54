"""Training of the search's network."""
