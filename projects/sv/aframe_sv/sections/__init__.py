"""The sections of the report, one module each, made by a function of the evidence."""
