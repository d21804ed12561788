"""NumPy's functions on recorded values, composed from the elementwise and array rows. Importing registers them."""

from fastad.recording.functions import (
    creation,
    einsum,
    joining,
    linalg,
    norms,
    numerical,
    products,
    queries,
    reductions,
    rounding,
    selecting,
    shapes,
    sorting,
    special,
    statistics,
    ufuncs,
    unsupported,
)

_ = (
    creation, einsum, joining, linalg, norms, numerical, products, queries, reductions, rounding, selecting, shapes,
    sorting, special, statistics, ufuncs, unsupported,
)  # fmt: skip
