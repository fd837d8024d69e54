"""Strain, segments and waveforms for the search."""
