"""NumPy functions on recorded values, composed of elementwise and array rows. Importing this package registers them."""

from fastad.recording.functions import (
    creation,
    einsum,
    factorisations,
    filters,
    flat,
    fourier,
    iterating,
    joining,
    linalg,
    making,
    mathematics,
    norms,
    numerical,
    products,
    queries,
    reductions,
    rounding,
    scipy_functions,
    segments,
    selecting,
    sets,
    shapes,
    signals,
    sorting,
    special,
    statistics,
    ufuncs,
    unsupported,
)

_ = (
    creation, einsum, factorisations, filters, flat, fourier, iterating, joining, linalg, making, mathematics, norms,
    numerical, products, queries, reductions, rounding, scipy_functions, segments, selecting, sets, shapes, signals,
    sorting, special, statistics, ufuncs, unsupported,
)  # fmt: skip
making.stand_in_for_functions()
