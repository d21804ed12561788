"""Filters of scipy.signal and scipy.ndimage, distances of scipy.spatial: values, derivatives, refusals."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import scipy.spatial.distance
from recording_tools import check

import fastad as fad
from fastad.errors import RecordingError

SECTIONS = scipy.signal.butter(4, 0.4, output="sos")
SIGNALS = {
    "one pole": lambda x, c: scipy.signal.lfilter([1.0, 0.5], [1.0, -0.3], x),
    "rows": lambda x, c: scipy.signal.lfilter(c[:3], [2.0, -0.5, 0.2], np.reshape(x, (3, 4)), axis=1),
    "columns": lambda x, c: scipy.signal.lfilter([0.5], np.concatenate([[1.0], 0.2 * c[:2]]), np.reshape(x, (4, 3)), 0),
    "finite": lambda x, c: scipy.signal.lfilter(c, [2.0], x),
    "unstable": lambda x, c: scipy.signal.lfilter([1.0], [1.0, -1.7, 0.9], x),
    "number": lambda x, c: scipy.signal.lfilter(0.5, 2.0, x),
    "states": lambda x, c: scipy.signal.lfilter(c, [2.0, -0.3], x, zi=x[:3]),
    "few": lambda x, c: scipy.signal.lfilter(c, [2.0, -0.3], x[:2], zi=c[:3]),
    "states of columns": lambda x, c: scipy.signal.lfilter([1.0], [1.0, 0.2], np.reshape(x, (4, 3)), 0, zi=x[None, :3]),
    "sections": lambda x, c: scipy.signal.sosfilt(SECTIONS, np.reshape(x, (6, 2)), 0),
    "states of sections": lambda x, c: scipy.signal.sosfilt(SECTIONS, x, zi=np.reshape(c, (2, 2))),
    "both ways": lambda x, c: scipy.signal.filtfilt([0.2, 0.3], [1.0, -0.5], x),
    "even": lambda x, c: scipy.signal.filtfilt([0.2], [1.0, -0.5], np.reshape(x, (6, 2)), 0, "even", 3),
    "sections both ways": lambda x, c: scipy.signal.sosfiltfilt(SECTIONS, x, padtype="constant", padlen=5),
    "polynomials": lambda x, c: scipy.signal.savgol_filter(x, 5, 2),
    "slopes": lambda x, c: scipy.signal.savgol_filter(np.reshape(x, (6, 2)), 5, 3, 2, 0.3, axis=0),
    "slopes, near": lambda x, c: scipy.signal.savgol_filter(x, 5, 2, 1, mode="nearest"),
    "trend": lambda x, c: scipy.signal.detrend(np.reshape(x, (6, 2)), 0, bp=2),
    "mean": lambda x, c: scipy.signal.detrend(x, type="constant"),
    "fewer": lambda x, c: scipy.signal.resample(x, 8),
    "more": lambda x, c: scipy.signal.resample(np.reshape(x, (6, 2)), 9),
    "plane": lambda x, c: scipy.signal.convolve2d(np.reshape(x, (3, 4)), np.reshape(c, (2, 2)), "same", "symm"),
    "plane, full": lambda x, c: scipy.signal.convolve2d(np.reshape(x, (3, 4)), np.reshape(c, (1, 4)), fillvalue=0.5),
    "plane, turned": lambda x, c: scipy.signal.correlate2d(np.reshape(x, (3, 4)), c[None, :2], "same", "wrap"),
    "plane, valid": lambda x, c: scipy.signal.correlate2d(np.reshape(x, (3, 4)), [[1.0, 2.0, 0.5]], "valid"),
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
    "gaussian, slopes": lambda x: scipy.ndimage.gaussian_filter(x, 0.8, order=(1, 2), mode="wrap"),
    "gaussian 1d, slopes": lambda x: scipy.ndimage.gaussian_filter1d(x, 0.7, axis=0, order=1),
    "sobel": lambda x: scipy.ndimage.sobel(x, 0, mode="mirror"), "prewitt": lambda x: scipy.ndimage.prewitt(x),
    "laplace": lambda x: scipy.ndimage.laplace(x), "gaussian laplace": lambda x: scipy.ndimage.gaussian_laplace(x, 0.6),
    "gradient": lambda x: scipy.ndimage.gaussian_gradient_magnitude(x, 0.6),
}


@pytest.mark.parametrize("f", SIGNALS.values(), ids=SIGNALS)
def test_lfilter(f):
    check(f, lambda rng: [rng.normal(size=12), rng.uniform(0.5, 1.0, 4)])


@pytest.mark.parametrize("f", IMAGES.values(), ids=IMAGES)
def test_images(f):
    check(f, lambda rng: [rng.normal(size=(6, 7))])


@pytest.mark.parametrize("mode", ["nearest", "mirror", "reflect", "constant"])
@pytest.mark.parametrize("order", [0, 1])
def test_looking_up_an_image(mode, order):
    f = lambda x, at: scipy.ndimage.map_coordinates(x, np.reshape(at, (2, 2, 4)), order=order, mode=mode, cval=0.3)
    check(f, lambda rng: [rng.normal(size=(4, 5)), rng.uniform(-6.0, 10.0, size=16)])


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cityblock", "chebyshev", "cosine"])
def test_distances(metric):
    def f(x, y):
        apart = scipy.spatial.distance.pdist(x, metric)
        square = scipy.spatial.distance.squareform(apart)
        return scipy.spatial.distance.cdist(x, y, metric=metric), square, scipy.spatial.distance.squareform(square)

    check(f, lambda rng: [rng.normal(size=(4, 3)), rng.normal(size=(5, 3))])


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cityblock", "chebyshev", "cosine"])
def test_distances_of_two_vectors(metric):
    f = lambda u, v: getattr(scipy.spatial.distance, metric)(u, v)
    check(f, lambda rng: [rng.normal(size=4), rng.normal(size=4)])


def test_a_distance_of_zero_has_the_derivative_of_a_norm():
    x = np.array([[1.0, 2.0], [1.0, 2.0], [4.0, 6.0]])
    for order in (1, 2):
        f = lambda x: np.sum(scipy.spatial.distance.cdist(x, x) ** order)  # noqa: B023
        assert np.isfinite(fad.grad(f)(x)).all()


@pytest.mark.parametrize(
    ("f", "fix"),
    [
        (lambda x: scipy.ndimage.gaussian_filter(x, 1.0, axes=(1,)), "sigma for each axis"),
        (lambda x: scipy.ndimage.map_coordinates(x, [[0.5], [0.5]]), "order=1"),
        (lambda x: scipy.ndimage.shift(x, 0.5), "map_coordinates"),
        (lambda x: scipy.signal.filtfilt(x[0], [1.0], x[0]), "lfilter"),
        (lambda x: scipy.ndimage.gaussian_filter(x, x[0, 0]), "recorded sigma.*correlate1d"),
        (lambda x: scipy.ndimage.gaussian_filter1d(x, x[0, 0]), "recorded sigma.*correlate1d"),
        (lambda x: scipy.spatial.distance.cdist(x, x, "jaccard"), "euclidean"),
        (lambda x: scipy.spatial.distance.pdist(x, "minkowski", p=3), "minkowski"),
    ],
)
def test_what_is_not_taken(f, fix):
    with pytest.raises(RecordingError, match=fix):
        fad.jit(f)(np.ones((3, 3)))
