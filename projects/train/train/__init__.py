"""`python -m train` is the training command under its published name."""
