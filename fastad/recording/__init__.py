"""Recording: a NumPy function runs once on recorded values, through NumPy's own protocols."""

from fastad.recording import functions, operators

_ = functions, operators
