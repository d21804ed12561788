"""The demonstration that `python -m fastad demo` runs."""
