"""Rolled loops: repetition in a table, found and made a loop row."""
