"""Export of a trained network to streaming models."""
