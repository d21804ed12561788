"""scipy.sparse's functions and matrices inside a function that is recorded: SciPy's values, where nothing is recorded,
and derivatives that differences and the adjoint identity confirm."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from scipy.sparse import coo_matrix, csr_array
from scipy.sparse.linalg import spsolve

import fastad as fad
from fastad.recording.capture import OutsideState

N = 6
B = np.arange(1.0, N + 1.0)
I = np.arange(N)
BANDS = [np.ones(N - 1), -3.0 * np.ones(N), np.ones(N - 1)]
FORMS = {
    "dia_matrix": sp.diags(BANDS, [-1, 0, 1]),
    "csr_matrix": sp.diags(BANDS, [-1, 0, 1]).tocsr(),
    "csr_array": sp.csr_array(sp.diags(BANDS, [-1, 0, 1])),
    "csc_array": sp.csc_array(sp.diags(BANDS, [-1, 0, 1])),
    "dia_array": sp.diags_array(BANDS, offsets=[-1, 0, 1]),
}
E = sp.eye(N, format="csr")
K = np.linspace(1.0, 2.0, N)

PROGRAMS = {
    "scalar times": lambda D, k: (k[0] * D) @ B,
    "times scalar": lambda D, k: (D * k[0]) @ B,
    "negative": lambda D, k: (-k[0] * D) @ B,
    "divided": lambda D, k: (D / k[0]) @ B,
    "multiply": lambda D, k: D.multiply(k[0]) @ B,
    "rows scaled": lambda D, k: D.multiply(k[:, None]) @ B,
    "diagonal": lambda D, k: (sp.diags(k) @ D) @ B,
    "diagonals": lambda D, k: (D @ sp.diags([k, k[1:]], [0, 1])) @ B,
    "sum": lambda D, k: (E + D * k[0]) @ B,
    "difference": lambda D, k: (E - k[0] * D) @ B,
    "difference of two": lambda D, k: (k[1] * E - k[0] * D) @ B,
    "spsolve": lambda D, k: spl.spsolve((E - k[0] * D).tocsc(), B),
    "spsolve, right side": lambda D, k: spsolve(sp.csc_matrix(D), k),
    "spsolve, column": lambda D, k: spl.spsolve((E - k[0] * D).tocsc(), k[:, None]),
    "splu": lambda D, k: spl.splu((E - k[0] * D).tocsc()).solve(B),
    "factorized": lambda D, k: spl.factorized((E - k[0] * D).tocsc())(B),
    "cg": lambda D, k: spl.cg(E - k[0] * D, B, rtol=1e-13)[0],
    "gmres": lambda D, k: spl.gmres(E - k[0] * D, B, rtol=1e-13)[0],
    "bmat": lambda D, k: sp.bmat([[E, k[0] * D], [None, E]]) @ np.r_[B, B],
    "hstack": lambda D, k: sp.hstack([E, k[0] * D], format="csr") @ np.r_[B, B],
    "block_diag": lambda D, k: sp.block_diag((k[0] * D, E)) @ np.r_[B, B],
    "block_diag, with a dense block": lambda D, k: sp.block_diag([sp.diags(k), np.ones((1, 2))]) @ np.r_[B, 1.0, 2.0],
    "factors of a plain matrix": lambda D, k: spl.splu(sp.csc_matrix(D)).solve(k * B, "T"),
    "solver of a plain matrix": lambda D, k: spl.factorized(sp.csc_matrix(D))(k * k),
    "kron": lambda D, k: sp.kron(E, k[0] * D) @ np.tile(B, N),
    "coo": lambda D, k: D @ (coo_matrix((k, (I, I[::-1])), shape=(N, N)) @ B),
    "coo, no shape": lambda D, k: D @ (sp.coo_array((k, (I, I))).tocsr() @ B),
    "csr": lambda D, k: D @ (csr_array((k, I, np.arange(N + 1)), shape=(N, N)) @ B),
    "csc": lambda D, k: D @ (sp.csc_matrix((k, I, np.arange(N + 1))) @ B),
    "dense": lambda D, k: D @ (sp.csr_matrix(np.outer(k, k)) @ B),
}


@pytest.mark.filterwarnings("ignore:.*was recorded 64 times")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_scipys_values_and_exact_derivatives(form, name):
    def program(k):
        return PROGRAMS[name](FORMS[form], k)

    np.testing.assert_allclose(fad.jit(program)(K), program(K), rtol=1e-9)
    if form in ("csr_matrix", "csr_array"):
        fad.check_adjoint(program, (K,), rtol=1e-8)
        fad.check_grads(program, (K,), order=1)


def test_stars_of_matrices_and_of_arrays():
    """`*` of the older matrices is the product of matrices, that of the arrays is elementwise."""
    for D, wanted in ((FORMS["csr_matrix"], lambda k: FORMS["csr_matrix"] @ k), (FORMS["csr_array"], lambda k: None)):
        product = lambda k, D=D: (D * k).toarray() if isinstance(D, sp.sparray) else D * k
        expected = wanted(K) if wanted(K) is not None else FORMS["csr_array"].toarray() * K
        np.testing.assert_allclose(fad.jit(product)(K), expected, rtol=1e-14)
        fad.check_adjoint(product, (K,))


def test_stiffness_matrix():
    """As the programs of topology optimisation make it: entries that add up, rows and columns that stay, a solve."""
    ends = np.c_[np.arange(7), np.arange(1, 8)]
    own = np.array([[1.0, -1.0], [-1.0, 1.0]])
    rows = np.kron(ends, np.ones((2, 1))).flatten().astype(int)
    columns = np.kron(ends, np.ones((1, 2))).flatten().astype(int)
    force, free = np.linspace(0.0, 1.0, 8), np.arange(1, 8)

    def compliance(x):
        numbers = ((own.flatten()[np.newaxis]).T * (1e-9 + x**3)).flatten(order="F")
        K = coo_matrix((numbers, (rows, columns)), shape=(8, 8)).tocsc()
        K = K[free, :][:, free]
        u = np.zeros(8)
        u[free] = spsolve(K, force[free])
        return force @ u

    x = np.linspace(0.5, 1.0, 7)
    stretch = np.cumsum(force[::-1])[::-1][1:] ** 2  # the force in every bar, squared
    assert fad.jit(compliance)(x) == pytest.approx(compliance(x), rel=1e-12)
    np.testing.assert_allclose(fad.grad(compliance)(x), -3.0 * x**2 * stretch / (1e-9 + x**3) ** 2, rtol=1e-9)
    for tier in ("sweep", "native"):
        np.testing.assert_allclose(fad.jit(fad.grad(compliance), tier=tier)(x), fad.grad(compliance)(x), rtol=1e-12)


def test_right_side_of_a_stiff_system():
    rate = lambda t, u, k: (k * FORMS["dia_matrix"]) @ u
    end = lambda k: fad.solve_ivp(rate, (0.0, 1.0), np.ones(N), "BDF", args=(k,), rtol=1e-8, atol=1e-10).y[:, -1]
    A = FORMS["csr_array"].toarray()
    exact = lambda k: fad.linalg.expm(k * A) @ np.ones(N)
    np.testing.assert_allclose(fad.jacfwd(end)(0.7), fad.jacfwd(exact)(0.7), rtol=1e-5)


def test_matrices_from_outside_are_read_anew():
    D = FORMS["csr_matrix"].copy()
    product = fad.jit(lambda k: np.sum((k * D) @ B))
    assert product(2.0) == pytest.approx(2.0 * np.sum(D @ B))
    D.data *= 3.0
    assert product(2.0) == pytest.approx(2.0 * np.sum(D @ B))
    D.data *= 2.0
    assert product(2.0) == pytest.approx(2.0 * np.sum(D @ B))
    data = OutsideState((product.__wrapped__,)).arrays
    assert any(a is D.data for a in data)


class Stepper:
    """Implicit steps whose matrix is factorised once, outside."""

    def __init__(self, scale):
        A = sp.csc_matrix(E - scale * FORMS["csr_matrix"]) + sp.csc_matrix(np.outer(I, I > 3))
        self.inverse = np.linalg.inv(A.toarray())
        self.lu, self.solver, self.incomplete = spl.splu(A), spl.factorized(A), spl.spilu(A, drop_tol=0.0)

    def steps(self, u):
        for _ in range(3):
            u = self.lu.solve(np.sin(u)) + self.solver(u) * self.incomplete.solve(u, trans="T")
        return u

    def dense(self, u):
        for _ in range(3):
            u = self.inverse @ np.sin(u) + self.inverse @ u * (self.inverse.T @ u)
        return u


def test_factors_that_scipy_made_outside_take_recorded_right_sides():
    stepper = Stepper(0.3)
    f = fad.jit(stepper.steps)
    np.testing.assert_allclose(f(K), stepper.dense(K), rtol=1e-9)
    for g in (fad.jacrev(stepper.steps), fad.jacfwd(stepper.steps)):
        np.testing.assert_allclose(g(K), fad.jacfwd(stepper.dense)(K), rtol=1e-9)
    fad.check_grads(stepper.steps, (K,), order=2)
    np.testing.assert_allclose(fad.vmap(f)(np.stack([K, B])), np.stack([f(K), f(B)]), rtol=1e-13)
    end = lambda u: fad.fori_loop(0, 5, lambda i, u: stepper.lu.solve(u * np.cos(u)), u)
    fad.check_grads(end, (K,), order=1)
    stepper.lu = Stepper(0.6).lu  # is read anew
    np.testing.assert_allclose(f(K), stepper.steps(K), rtol=1e-12)
    assert type(stepper.lu) is spl.SuperLU


def test_factors_inside_stay_plain_for_plain_numbers():
    def f(k):
        lu = spl.splu(sp.csc_matrix(FORMS["csr_matrix"]))
        return lu.solve(k) * float(lu.solve(B)[0]) * lu.nnz

    np.testing.assert_allclose(fad.jit(f)(K), f(K), rtol=1e-12)


def test_classes_and_questions_stay_what_they_are():
    def asked(k):
        A = sp.csr_matrix((k, (I, I)), shape=(N, N))
        assert sp.issparse(A)
        assert sp.issparse(E)
        assert not sp.issparse(k)
        assert isinstance(E, sp.csr_matrix)
        assert not isinstance(E, sp.csc_matrix)
        assert issubclass(sp.csr_matrix, sp.spmatrix)
        assert type(sp.csr_matrix(np.eye(2))) is type(E)
        return A @ k

    np.testing.assert_allclose(fad.jit(asked)(K), K**2)
    assert sp.csr_matrix is type(E)


def test_fad_sparse_is_imported_when_it_is_needed():
    program = (
        "import sys, numpy as np, scipy.sparse.linalg, fastad as fad\n"
        "fad.grad(lambda x: np.sum(x**2))(np.ones(2))\n"
        "assert 'fastad.sparse' not in sys.modules\n"
        "f = lambda x: np.sum(scipy.sparse.diags([x], [0]) @ x)\n"
        "assert fad.grad(f)(np.ones(2)).tolist() == [2.0, 2.0]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_all_names_are_there():
    from fastad.scipy_sparse import NAMES
    from fastad.sparse.scipy_names import FUNCTIONS

    assert sorted(FUNCTIONS) == sorted(" ".join(NAMES.values()).split())


def test_callbacks_are_refused():
    with pytest.raises(fad.RecordingError, match=r"scipy.sparse.linalg.cg with callback=.*test_scipy_sparse"):
        fad.grad(lambda k: spl.cg(E * k, B, callback=print)[0].sum())(2.0)


class _Scaled(spl.LinearOperator):
    def __init__(self, k):
        self.k = k
        super().__init__(np.dtype(float), (len(k), len(k)))

    def _matvec(self, v):
        return self.k * v + 0.1 * np.sum(v)


@pytest.mark.parametrize("solver", [spl.cg, spl.gmres, spl.bicgstab])
@pytest.mark.parametrize("of_class", [True, False])
def test_linear_operators_refer_to_recorded_values(solver, of_class):
    k, n = 1.0 + 0.3 * np.sin(np.arange(8.0)), 8

    def compliance(k):
        product = lambda v: k * v + 0.1 * np.sum(v)
        A = _Scaled(k) if of_class else spl.LinearOperator((n, n), matvec=product)
        M = spl.LinearOperator((n, n), lambda v: v / k)
        x, info = solver(A, np.ones(n), rtol=1e-13, M=M)
        return np.sum(x) + info

    x = np.linalg.solve(np.diag(k) + 0.1, np.ones(n))
    assert fad.jit(compliance)(k) == pytest.approx(compliance(k), rel=1e-12)
    np.testing.assert_allclose(fad.grad(compliance)(k), -(x**2), rtol=1e-9)  # the matrix is symmetric


OPERATED = {
    "A @ x": lambda A, x: A @ x,
    "A(x)": lambda A, x: A(x),
    "A.T @ x": lambda A, x: A.T @ x,
    "rmatvec": lambda A, x: A.rmatvec(x),
    "a column": lambda A, x: A.matvec(x[:, None])[:, 0],
    "a matrix": lambda A, x: A @ np.outer(x, x),
    "a plain vector": lambda A, x: A @ [1.0, 2.0, 3.0],
    "sums and factors": lambda A, x: (A + 2.0 * A - A * 0.5) @ x,
    "a recorded factor": lambda A, x: (A * x[0]) @ x,
    "products": lambda A, x: (A @ A.T) @ x,
    "an operator's operator": lambda A, x: spl.aslinearoperator(A) @ x,
}


@pytest.mark.parametrize("apply", OPERATED.values(), ids=OPERATED)
@pytest.mark.parametrize("is_sparse", [False, True])
def test_operators_multiply_recorded_vectors(apply, is_sparse):
    x = np.array([1.0, -2.0, 3.0])

    def f(x, operator):
        A = np.outer(x, x) + np.diag(x)
        if is_sparse:
            A = sp.csr_array((np.exp(x), ([0, 1, 2], [1, 1, 0])), shape=(3, 3))
        return apply(operator(A), x)

    by_matrix = lambda x: f(x, lambda A: spl.aslinearoperator(A.toarray() if is_sparse else A))
    np.testing.assert_allclose(fad.jit(lambda x: f(x, spl.aslinearoperator))(x), by_matrix(x), rtol=1e-14)
    fad.check_grads(lambda x: f(x, spl.aslinearoperator), (x,), order=2)


def test_an_operator_of_another_size_is_refused():
    with pytest.raises(fad.ShapeError, match=r"matvec .* shape \(3, 3\).*shape \(2,\).*test_scipy_sparse"):
        fad.grad(lambda x: np.sum(spl.aslinearoperator(np.diag(x)) @ x[:2]))(np.ones(3))


def test_operators_of_plain_numbers_stay_scipys():
    K = sp.diags([np.arange(1.0, 9.0)], [0]).tocsr()
    largest = lambda c: c * spl.eigsh(spl.LinearOperator((8, 8), lambda v: K @ v), k=1)[0][0]
    assert fad.grad(largest)(2.0) == pytest.approx(8.0)


@pytest.mark.parametrize("name", ["eigs", "eigsh", "svds", "expm", "inv", "norm", "lsqr", "lsmr", "minres"])
def test_functions_that_take_no_recorded_matrix_say_what_does(name):
    def f(d):
        A = sp.diags([d], [0]).tocsc()
        more = [np.ones(4)] if name in ("lsqr", "lsmr", "minres") else []
        return getattr(spl, name)(A, *more)

    message = rf"linalg\.{name} takes no recorded numbers \(at .*\. (Write|Solve|Eig)"
    with pytest.raises(fad.RecordingError, match=message):
        fad.jit(f)(np.arange(1.0, 5.0))


@pytest.mark.parametrize("name", ["max", "power", "getrow", "nonexistent", "A[0, 0] = 1", "todense"])
def test_what_matrices_have_not_is_told(name):
    def f(d):
        A = sp.diags([d], [0]).tocsr()
        if name.startswith("A"):
            A[0, 0] = 1.0
        return np.sum(A.todense()) if name == "todense" else getattr(A, name)

    if name == "todense":
        assert fad.grad(f)(np.ones(3)).tolist() == [1.0, 1.0, 1.0]
        return
    error = TypeError if name.startswith("A") else AttributeError
    with pytest.raises(error, match=r"\(at .*test_scipy_sparse.*\)\. (It has|Give|np\.)"):
        fad.jit(f)(np.ones(3))


@pytest.mark.parametrize("name", ["dok_matrix", "lil_array", "triu", "tril", "find"])
def test_other_makers_say_what_to_write(name):
    with pytest.raises(fad.RecordingError, match=rf"scipy\.sparse\.{name} takes no recorded numbers \(at .*Write"):
        fad.jit(lambda d: getattr(sp, name)(sp.diags([d], [0]).tocsr()))(np.ones(3))


def test_sums_of_kronecker_products():
    A, B = np.arange(4.0).reshape(2, 2), np.arange(9.0).reshape(3, 3) + 1.0
    f = lambda A, B: sp.kronsum(sp.csr_array(A), sp.csr_array(B)).toarray()
    np.testing.assert_allclose(fad.jit(f)(A, B), f(A, B))
