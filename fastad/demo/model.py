"""Hares and lynxes: the data, and the model as a user writes it. Nothing in this file is about derivatives.

The data are the numbers of pelts, in thousands, that the Hudson's Bay Company collected in 1900-1920. The model is the
Lotka-Volterra equations. Its six unknowns are two initial states and four rates.
"""

from typing import Any

import numpy as np

YEARS = np.arange(1900, 1921)
PELTS = np.array([
    [30, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22, 25.4, 27.1,
     40.3, 57, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7],
    [4, 6.1, 9.8, 35.2, 59.4, 41.7, 19, 13, 8.3, 9.1, 7.4,
     8, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6],
]).T  # fmt: skip
LOG_PELTS = np.log(PELTS)

# The unknowns, in the order of the parameter vector: the initial states and the rates a year.
UNKNOWNS = ("hares in 1900", "lynxes in 1900", "births of hares", "hares caught", "deaths of lynxes", "lynxes fed")
START = np.array([30.0, 4.0, 0.5, 0.02, 0.5, 0.02])
# B. Carpenter (2018), "Predator-prey population dynamics: the Lotka-Volterra model in Stan": posterior means.
LITERATURE = (None, None, 0.55, 0.028, 0.80, 0.024)

STEPS_A_YEAR = 50


def growth(state: Any, rates: Any) -> Any:
    """Right-hand side of the Lotka-Volterra equations."""
    hares, lynxes = state
    births, caught, deaths, fed = rates
    return np.array([hares * (births - caught * lynxes), lynxes * (fed * hares - deaths)])


def runge_kutta_step(state: Any, h: float, rates: Any) -> Any:
    """One step of the classical method of order four."""
    k1 = growth(state, rates)
    k2 = growth(state + h / 2 * k1, rates)
    k3 = growth(state + h / 2 * k2, rates)
    k4 = growth(state + h * k3, rates)
    return state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def simulate(parameters: Any, steps: int = STEPS_A_YEAR, every: int | None = None) -> Any:
    """The states at the start and after each year (or after `every` steps), as rows."""
    state, rates = parameters[:2], parameters[2:]
    every = every or steps
    states = [state]
    for k in range(1, steps * (len(YEARS) - 1) + 1):
        state = runge_kutta_step(state, 1 / steps, rates)
        if k % every == 0:
            states.append(state)
    return np.stack(states)


def misfit(log_parameters: Any, steps: int = STEPS_A_YEAR) -> Any:
    """Sum of squared differences between the logarithms of model and data."""
    return np.sum((np.log(simulate(np.exp(log_parameters), steps)) - LOG_PELTS) ** 2)
