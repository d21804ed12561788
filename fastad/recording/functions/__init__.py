"""NumPy's functions on recorded values, composed from the elementwise and array rows. Importing registers them."""

from fastad.recording.functions import creation, einsum, joining, products, reductions, selecting, shapes, statistics

_ = (creation, einsum, joining, products, reductions, selecting, shapes, statistics)
