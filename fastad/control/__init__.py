"""Structured control flow: loops and choices as single rows of a table, for any number of steps."""
