"""Structured control flow: conditions and loops as single rows of a table, whatever their number of steps."""
