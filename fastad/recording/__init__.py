"""Recording: a NumPy function runs once on recorded values, through NumPy's own protocols."""

from fastad.recording import functions, number_operators, operators

_ = functions, number_operators, operators
