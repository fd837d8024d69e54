"""Sensitive volume and the report."""
