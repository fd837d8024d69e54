"""Inference on time slides, injections and zero lag."""
