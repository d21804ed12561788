"""A recursive filter along the rows of a picture, column by column in place, to the right and back: sum of squares by
picture and coefficient.

Size: (rows, columns).
"""
import numpy

SIZES = {"small": (3, 4), "full": (100, 200)}
IN_PLACE = True


def arguments(size):
    return ((numpy.random.default_rng(16).standard_normal(size), numpy.array(0.5)),)


def program(np, x):
    picture, keep = x
    there, back = np.zeros_like(picture), np.zeros_like(picture)
    columns = picture.shape[1]
    there[:, 0] = picture[:, 0]
    for j in range(1, columns):
        there[:, j] = picture[:, j] + keep * there[:, j - 1]
    back[:, -1] = there[:, -1]
    for j in range(columns - 2, -1, -1):
        back[:, j] = there[:, j] + keep * back[:, j + 1]
    return np.sum(back**2)
