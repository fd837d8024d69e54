"""Torch code that training, export and inference share to the bit."""
