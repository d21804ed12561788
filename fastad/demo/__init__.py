"""The demonstration: a model in plain NumPy, fitted to real data with exact gradients. Run `python -m fastad demo`."""
