"""Hares and lynxes: the data, and the model as a user writes it. Nothing in this file is about derivatives.

The data are the numbers of pelts, in thousands, that the Hudson's Bay Company collected in 1900-1920. The model is the
Lotka-Volterra equations. Its six unknowns are two initial states and four rates, all positive, so the parameter vector
holds their logarithms.
"""

from typing import Any

import numpy as np

from fastad.ode.solving import solve_ivp

YEARS = np.arange(1900.0, 1921.0)
PELTS = np.array([
    [30, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22, 25.4, 27.1,
     40.3, 57, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7],
    [4, 6.1, 9.8, 35.2, 59.4, 41.7, 19, 13, 8.3, 9.1, 7.4,
     8, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6],
])  # fmt: skip
LOG_PELTS = np.log(PELTS)

UNKNOWNS = ("hares in 1900", "lynxes in 1900", "births of hares", "hares caught", "deaths of lynxes", "lynxes fed")
START = np.log([30.0, 4.0, 0.5, 0.02, 0.5, 0.02])
# B. Carpenter (2018), "Predator-prey population dynamics: the Lotka-Volterra model in Stan": posterior means.
LITERATURE = (None, None, 0.55, 0.028, 0.80, 0.024)


def growth(t: Any, log_pelts: Any, rates: Any) -> Any:
    """Right-hand side of the Lotka-Volterra equations for the logarithms of both populations."""
    hares, lynxes = np.exp(log_pelts)
    births, caught, deaths, fed = rates
    return np.array([births - caught * lynxes, fed * hares - deaths])


def solution(x: Any, years: Any = YEARS, **options: Any) -> Any:
    """Logarithms of both populations (rows) in these years."""
    return solve_ivp(
        growth, (1900.0, years[-1]), x[:2], t_eval=years, args=(np.exp(x[2:]),), **({"rtol": 1e-8} | options)
    ).y


def misfit(x: Any, **options: Any) -> Any:
    """Sum of squared differences between the logarithms of model and data."""
    return np.sum((solution(x, **options) - LOG_PELTS) ** 2)
