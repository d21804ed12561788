"""SciPy's special functions that SciPy writes in Python, for plain arrays and recorded values alike.

Ufuncs of `scipy.special` (erf, gammaln, digamma, expit, xlogy, …) are recorded as they are; these call NumPy in a
way that gives recorded values no entry, so they stand here under the same names.

>>> import numpy as np, fastad as fad
>>> float(fad.special.logsumexp(np.zeros(2)) - np.log(2.0))
0.0
"""

from fastad.recording.functions.special import log_softmax, logsumexp, multigammaln, polygamma, softmax

__all__ = ["log_softmax", "logsumexp", "multigammaln", "polygamma", "softmax"]
