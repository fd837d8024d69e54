"""Which tasks make a search."""
