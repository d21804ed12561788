"""Sorting and searching. NaN comes after every number, as in NumPy."""

from .flags import at, helper, kernel

_RUN = 16


@helper
def _before(a, b):
    return a < b or (b != b and a == a)


@helper
def _insertion(keys, places, low, high):
    """Sort keys[low:high] stably, and permute the places in the same way."""
    for i in range(low + 1, high):
        key, place = keys[at(i)], places[at(i)]
        j = i
        while j > low and _before(key, keys[at(j - 1)]):
            keys[at(j)], places[at(j)] = keys[at(j - 1)], places[at(j - 1)]
            j -= 1
        keys[at(j)], places[at(j)] = key, place


@helper
def _merge(keys, places, to_keys, to_places, low, middle, high):
    """Merge the sorted runs low:middle and middle:high. Of equal keys the left one comes first."""
    i, j = low, middle
    for k in range(low, high):
        right = i == middle or (j < high and _before(keys[at(j)], keys[at(i)]))
        source = j if right else i
        to_keys[at(k)], to_places[at(k)] = keys[at(source)], places[at(source)]
        if right:
            j += 1
        else:
            i += 1


@helper
def _merge_sort(keys, places, keys2, places2, n):
    """Bottom-up merge sort of keys and places. Returns True if the result is in the second pair of arrays."""
    for low in range(0, n, _RUN):
        _insertion(keys, places, low, low + _RUN if low + _RUN < n else n)
    width, second = _RUN, False
    while width < n:
        for low in range(0, n, 2 * width):
            middle = low + width if low + width < n else n
            high = middle + width if middle + width < n else n
            if second:
                _merge(keys2, places2, keys, places, low, middle, high)
            else:
                _merge(keys, places, keys2, places2, low, middle, high)
        width, second = 2 * width, not second
    return second


@kernel
def argsort_forward(out, x, y, s, w):
    """out[o, :, i] = the stable order of x[o, :, i], NaN last; s = (outer, n, inner); w has 4 n numbers."""
    outer, n, inner = s[0], s[1], s[2]
    keys, places, keys2, places2 = w[:n], w[n : 2 * n], w[2 * n : 3 * n], w[3 * n :]
    for o in range(outer):
        for i in range(inner):
            x0 = o * n * inner + i
            for j in range(n):
                keys[at(j)], places[at(j)] = x[at(x0 + j * inner)], float(j)
            second = _merge_sort(keys, places, keys2, places2, n)
            for j in range(n):
                out[at(x0 + j * inner)] = places2[at(j)] if second else places[at(j)]
    return 0


@kernel
def searchsorted_forward(out, x, y, s):
    """out[j] = the number of sorted x that are < y[j], or <= y[j] if s[0] (right) is set."""
    right = s[0] != 0
    for j in range(len(y)):
        v = y[at(j)]
        low, high = 0, len(x)
        while low < high:
            middle = (low + high) >> 1
            w = x[at(middle)]
            if (not _before(v, w)) if right else _before(w, v):
                low = middle + 1
            else:
                high = middle
        out[at(j)] = low
    return 0
