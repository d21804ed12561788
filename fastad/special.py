"""Functions that `scipy.special` writes in Python, for plain arrays and recorded values, under the same names.

The ufuncs of `scipy.special` (erf, gammaln, digamma, expit, xlogy, …) can be recorded as they are. Its Python functions
convert their arguments to plain arrays first, so they cannot.

>>> import numpy as np, fastad as fad
>>> float(fad.special.logsumexp(np.zeros(2)) - np.log(2.0))
0.0
"""

from fastad.recording.functions.special import log_softmax, logsumexp, multigammaln, polygamma, softmax

__all__ = ["log_softmax", "logsumexp", "multigammaln", "polygamma", "softmax"]
