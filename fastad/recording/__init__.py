"""Recording: running a NumPy function once on recorded values, by NumPy's own protocols."""

from fastad.recording import functions

_ = functions
