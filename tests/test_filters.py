"""Filters of scipy.signal and scipy.ndimage, distances of scipy.spatial: values, derivatives, refusals."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import scipy.spatial.distance
from recording_tools import check

import fastad as fad
from fastad.errors import RecordingError

SIGNALS = {
    "one pole": lambda x, c: scipy.signal.lfilter([1.0, 0.5], [1.0, -0.3], x),
    "rows": lambda x, c: scipy.signal.lfilter(c[:3], [2.0, -0.5, 0.2], np.reshape(x, (3, 4)), axis=1),
    "columns": lambda x, c: scipy.signal.lfilter([0.5], np.concatenate([[1.0], 0.2 * c[:2]]), np.reshape(x, (4, 3)), 0),
    "finite": lambda x, c: scipy.signal.lfilter(c, [2.0], x),
    "unstable": lambda x, c: scipy.signal.lfilter([1.0], [1.0, -1.7, 0.9], x),
    "number": lambda x, c: scipy.signal.lfilter(0.5, 2.0, x),
}
IMAGES = {
    "gaussian": lambda x: scipy.ndimage.gaussian_filter(x, 0.8),
    "gaussian, axes": lambda x: scipy.ndimage.gaussian_filter(x, (0.6, 0.0), mode=("nearest", "wrap"), truncate=2.0),
    "gaussian, radius": lambda x: scipy.ndimage.gaussian_filter(x, 1.1, mode="constant", cval=0.3, radius=2),
    "gaussian 1d": lambda x: scipy.ndimage.gaussian_filter1d(x, 0.7, axis=0, mode="mirror"),
    "uniform": lambda x: scipy.ndimage.uniform_filter(x, 3),
    "uniform, even": lambda x: scipy.ndimage.uniform_filter(x, (4, 1), mode="wrap"),
    "correlate": lambda x: scipy.ndimage.correlate1d(x, [1.0, 2.0, -1.0], axis=0),
    "convolve": lambda x: scipy.ndimage.convolve1d(x, [1.0, 2.0, -1.0, 0.5], mode="nearest"),
}


@pytest.mark.parametrize("f", SIGNALS.values(), ids=SIGNALS)
def test_lfilter(f):
    check(f, lambda rng: [rng.normal(size=12), rng.uniform(0.5, 1.0, 4)])


@pytest.mark.parametrize("f", IMAGES.values(), ids=IMAGES)
def test_images(f):
    check(f, lambda rng: [rng.normal(size=(6, 7))])


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cityblock", "chebyshev", "cosine"])
def test_distances(metric):
    def f(x, y):
        apart = scipy.spatial.distance.pdist(x, metric)
        square = scipy.spatial.distance.squareform(apart)
        return scipy.spatial.distance.cdist(x, y, metric=metric), square, scipy.spatial.distance.squareform(square)

    check(f, lambda rng: [rng.normal(size=(4, 3)), rng.normal(size=(5, 3))])


def test_a_distance_of_zero_has_the_derivative_of_a_norm():
    x = np.array([[1.0, 2.0], [1.0, 2.0], [4.0, 6.0]])
    for order in (1, 2):
        f = lambda x: np.sum(scipy.spatial.distance.cdist(x, x) ** order)  # noqa: B023
        assert np.isfinite(fad.grad(f)(x)).all()


@pytest.mark.parametrize(
    ("f", "fix"),
    [
        (lambda x: scipy.signal.lfilter([1.0], [1.0, 0.5], x[0], zi=[0.1]), "zi="),
        (lambda x: scipy.ndimage.gaussian_filter(x, 1.0, order=1), "order="),
        (lambda x: scipy.ndimage.gaussian_filter(x, x[0, 0]), "recorded sigma.*correlate1d"),
        (lambda x: scipy.ndimage.gaussian_filter1d(x, x[0, 0]), "recorded sigma.*correlate1d"),
        (lambda x: scipy.spatial.distance.cdist(x, x, "jaccard"), "euclidean"),
        (lambda x: scipy.spatial.distance.pdist(x, "minkowski", p=3), "minkowski"),
    ],
)
def test_what_is_not_taken(f, fix):
    with pytest.raises(RecordingError, match=fix):
        fad.jit(f)(np.ones((3, 3)))
