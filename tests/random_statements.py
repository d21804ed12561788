# ruff: noqa: E501 - lists of templates read best one statement a line
"""Templates of the statements of random programs: each draws the source of one statement on variables of a draft.

A template takes the draft and the name to define; it returns (lines, traits), (lines, traits, True) if the target is
memory of the program's own that later statements may write to, or None if it finds no operands. Statements that do
not run in plain NumPy are dropped by the draft, so templates need not check shapes. Comparisons and selections state
by `margin(...)` how far from a tie they are; functions get operands squashed into their domains.
"""

import fastad.primitives  # the rows register themselves
from fastad.primitives.row import elementwise_rows

assert fastad.primitives

DIMENSIONS = (1, 2, 3, 3, 4, 5, 8)
CLEAR = 1e-3  # distance from kinks

SQUASHED = {
    "R": ("{}",), "P": ("(np.square({}) + 0.4)", "np.exp(0.5 * {})"), "Z": ("(2.0 + np.sin({}))", "(np.cos({}) - 2.5)"),
    "U": ("(0.8 * np.tanh({}))", "(0.8 * np.sin({}))"), "I": ("(0.5 + 0.4 * np.sin({}))",), "G": ("(1.3 + np.square({}))",),
    "X": ("{}",), "B": ("{}",),
}  # fmt: skip
NEAR_TIES = ("maximum", "minimum", "fmax", "fmin")
NEAR_ZERO = ("heaviside", "sign", "absolute", "copysign", "signbit")
NEAR_INTEGERS = ("floor", "ceil", "trunc", "rint")
ROWS = [row for row in elementwise_rows() if row.ufuncs and row.result != "bool" and "nan" not in row.partials]


def draw_statement(d, t):
    """One statement that defines t, or None."""
    weights = [w for _, w in TEMPLATES]
    total = sum(weights)
    k = int(d.rng.choice(len(TEMPLATES), p=[w / total for w in weights]))
    return TEMPLATES[k][0](d, t)


# ── operands ──────────────────────────────────────────────────────────────────────────────────────────────────
def one(d, *ndims):
    """A variable with one of these numbers of axes (any, if none is given); recent ones are likelier."""
    names = [n for n, v in d.values.items() if not ndims or v.ndim in ndims]
    if not names:
        return None
    weights = [k + 1.0 for k in range(len(names))]
    return str(d.rng.choice(names, p=[w / sum(weights) for w in weights]))


def other(d, x):
    """A second operand: another variable, the same one, an outside array, a number, or one with a new axis."""
    kind = d.rng.random()
    if kind < 0.5:
        return one(d)
    if kind < 0.6:
        return x
    if kind < 0.75:
        return str(d.rng.choice(["c0", "c1"]))
    if kind < 0.9:
        return number(d)
    y = one(d, 1, 2)
    return f"{y}[..., None]" if y else number(d)


def number(d, low=-1.5, high=1.5):
    return repr(round(float(d.rng.uniform(low, high)), 2))


def choose(d, *options):
    return options[int(d.rng.integers(len(options)))]


def axis(d, x):
    """An axis of x, as a keyword argument; sometimes none, a tuple, or with keepdims."""
    nd = d.values[x].ndim
    if not nd or d.rng.random() < 0.25:
        return ""
    if nd > 1 and d.rng.random() < 0.15:
        return ", axis=(0, -1)"
    return f", axis={int(d.rng.integers(-nd, nd))}" + choose(d, "", ", keepdims=True")


def single_axis(d, x):
    nd = d.values[x].ndim
    return int(d.rng.integers(-nd, nd))


def apart(a, b):
    return f"margin(np.min(np.abs({a} - ({b})), initial=1.0) > {CLEAR})"


def distinct(x, ax=None):
    """The elements along an axis (or all of them) have no ties."""
    ordered = f"np.sort(np.reshape({x}, -1))" if ax is None else f"np.sort({x}, axis={ax})"
    along = "" if ax is None else f", axis={ax}"
    return f"margin(np.min(np.diff({ordered}{along}), initial=1.0) > {CLEAR})"


# ── elementwise ───────────────────────────────────────────────────────────────────────────────────────────────
def elementwise(d, t):
    """A function of the primitive table on operands squashed into its domain."""
    row = ROWS[int(d.rng.integers(len(ROWS)))]
    x = one(d)
    operands = [x] + [other(d, x) for _ in row.domain[1:]]
    keys = ("R", *row.domain[1:]) if row.name in NEAR_ZERO else row.domain
    operands = [choose(d, *SQUASHED[key]).format(o) for key, o in zip(keys, operands, strict=True)]
    module = "np" if row.numpy.__class__.__name__ == "ufunc" or row.name == "sinc" else "special"
    name = row.ufuncs[int(d.rng.integers(len(row.ufuncs)))]
    lines = kinks(row.name, operands)
    return [*lines, f"{t} = {module}.{name}({', '.join(operands)})"], (), True


def kinks(name, operands):
    if name in NEAR_TIES:
        return [apart(*operands)]
    if name in NEAR_ZERO:
        return [apart(operands[0], "0.0")]
    if name in NEAR_INTEGERS:
        return [f"margin(np.min(np.abs(2 * {operands[0]} - np.rint(2 * {operands[0]})), initial=1.0) > {CLEAR})"]
    if name in ("mod", "fmod", "floor_divide"):
        ratio = f"({operands[0]} / {operands[1]})"
        return [f"margin(np.min(np.abs({ratio} - np.rint({ratio})), initial=1.0) > {CLEAR})"]
    return []


def arithmetic(d, t):
    x = one(d)
    y = other(d, x)
    form = choose(
        d, "{x} + {y}", "{x} - {y}", "{y} - {x}", "{x} * {y}", "{x} * {y}", "{x} / (1.5 + np.square({y}))", "-{x}",
        "{x} ** 2", "{x} ** 3", "(1.2 + np.square({x})) ** 0.5", "(1.5 + np.sin({x})) ** {y}", "(1.2 + {x} * {x}) ** -1",
        "{x} * 0.5 + {y} * {x}", "np.exp(-{x} * {x})", "2.0 / (2.0 + np.cos({x}))", "+{x}", "np.sin({x}) * np.cos({x})",
    )  # fmt: skip
    return [f"{t} = {form.format(x=x, y=y)}"], (), form != "+{x}"


def where(d, t):
    x = one(d)
    y, z = other(d, x), other(d, x)
    compare = choose(d, "<", "<=", ">", ">=")
    cond = choose(d, "{c}", "np.logical_not({c})", "({c}) & ({x} < 1.7)", "np.logical_or({c}, {x} > 2.0)", "~({c})")
    cond = cond.format(c=f"{x} {compare} {y}", x=x)
    lines = [apart(x, y), apart(x, "1.7"), apart(x, "2.0"), f"{t} = np.where({cond}, {z}, np.sin({x}))"]
    return lines, (), True


def clip(d, t):
    x = one(d)
    low, high = number(d, -1.0, -0.2), number(d, 0.2, 1.0)
    return [apart(x, low), apart(x, high), f"{t} = np.clip({x}, {low}, {high})"], (), True


# ── shapes ────────────────────────────────────────────────────────────────────────────────────────────────────
def basic_index(d, t):
    x = one(d, 1, 2, 3)
    if x is None:
        return None
    keys = []
    for n in d.values[x].shape:
        i, j = sorted(int(k) for k in d.rng.integers(0, n + 1, 2))
        keys.append(choose(d, ":", f"{i}:{j}", "::2", "::-1", f"{-n}:", f"{j}::-1", str(int(d.rng.integers(-n, n))), "1:", ":-1"))
    if d.rng.random() < 0.2:
        keys.insert(int(d.rng.integers(len(keys) + 1)), "None")
    elif d.rng.random() < 0.2:
        keys = [*keys[:1], "..."]
    return [f"{t} = {x}[{', '.join(keys)}]"], ()


def fancy_index(d, t):
    x = one(d, 1, 2)
    if x is None:
        return None
    n = d.values[x].shape[0]
    listed = [int(i) for i in d.rng.integers(-n, n, 3)]
    key = choose(d, "k0", "k1", f"np.array({listed})", f"np.array({listed})[:, None]", f"np.array([{listed[:2]}, {listed[1:]}])")
    form = choose(d, "{x}[{k}]", "{x}[{k}]", "{x}[..., {k}]", "np.take({x}, {k}, axis=0)", "{x}[{k}, 0]", "{x}[{k}, ::-1]")
    return [f"{t} = {form.format(x=x, k=key)}"], ("index",), True


def recorded_index(d, t):
    x, y = one(d, 1), one(d, 1)
    if x is None:
        return None
    form = choose(
        d, "{y}[np.argmax({x})]", "{x}[np.argsort({x})]", "{y}[np.argsort({x})]", "{y}[int(np.argmin({x}))]",
        "np.take_along_axis({x}, np.argsort({y}), axis=0)",
    )  # fmt: skip
    lines = [distinct(x), distinct(y), f"{t} = {form.format(x=x, y=y)}"]
    return lines, ("recorded index", *(("branch",) if "int(" in form else ()))


def mask_index(d, t):
    x = one(d, 1, 2)
    if x is None:
        return None
    c = number(d, -0.5, 0.5)
    form = choose(d, "{x}[{x} > {c}]", "{x}[~({x} > {c})]", "np.sum({x}[{x} < {c}])", "np.compress(np.reshape({x}, -1) > {c}, {x})")
    return [apart(x, c), f"{t} = {form.format(x=x, c=c)}"], ("mask",), True


def reshape(d, t):
    x = one(d)
    nd = d.values[x].ndim
    axes = [int(a) for a in d.rng.permutation(nd)]
    form = choose(
        d, "np.reshape({x}, -1)", "{x}.T", f"np.transpose({{x}}, {tuple(axes)})", "np.ravel({x})", "np.expand_dims({x}, 0)",
        "np.squeeze({x})", "np.atleast_2d({x})", "np.flip({x})", f"np.roll({{x}}, {int(d.rng.integers(-2, 3))})",
        "np.swapaxes({x}, 0, -1)", "np.moveaxis({x}, 0, -1)", "np.rot90({x})", "{x}.flatten()", "{x}[..., None]",
        "np.reshape({x}, ({x}.shape[-1], -1))", "np.broadcast_to({x}, (2, *{x}.shape))", "np.tile({x}, 2)",
        "np.repeat({x}, 2, axis=0)", "np.pad({x}, 1)", "np.diag({x})", "np.tril({x})", "np.triu({x}, 1)", "np.diagonal({x})",
        "np.pad({x}, 1, mode='edge')", "np.repeat({x}, 2)", "np.fliplr({x})",
    )  # fmt: skip
    return [f"{t} = {form.format(x=x)}"], ()


def join(d, t):
    x = one(d)
    y = one(d)
    form = choose(
        d, "np.concatenate([{x}, {y}])", "np.concatenate([{x}, {x}], axis=-1)", "np.stack([{x}, {y}])",
        "np.stack([{x}, np.sin({x})], axis=-1)", "np.hstack([{x}, {y}])", "np.vstack([{x}, {y}])", "np.append({x}, {y})",
        "np.array([{x}, 2.0 * {x}])", "np.array([np.sum({x}), np.sum({y}), 0.5])", "np.array([[np.sum({x}), 1], [{y}.flat[0], 0.3]], dtype={x}.dtype)", "np.stack([np.sum({x}), 1.0])", "np.column_stack([{x}, {y}])",
        "np.concatenate([{x}[1:], {x}[:1], {x}])", "np.concatenate([{x}, c0])", "np.split({x}, [1])[-1]",
    )  # fmt: skip
    return [f"{t} = {form.format(x=x, y=y)}"], (), "split" not in form


# ── reductions, scans, sorting ────────────────────────────────────────────────────────────────────────────────
def reduction(d, t):
    x = one(d)
    name = choose(d, "sum", "sum", "mean", "prod", "var", "std", "max", "min", "linalg.norm", "median", "ptp")
    ax = axis(d, x)
    if name in ("linalg.norm", "median", "ptp"):
        ax = ax.replace(", keepdims=True", "").replace("(0, -1)", "0")
    one_axis = ax.split("=")[1].split(",")[0] if "=" in ax and "(" not in ax else None
    ties = name in ("max", "min", "median", "ptp")
    lines = [distinct(x, one_axis)] if ties else []
    if name == "linalg.norm":
        lines = [f"margin(np.min(np.sum(np.square({x}){ax})) > {CLEAR})"]
    if name == "std":
        lines = [f"margin(np.min(np.var({x}{ax})) > {CLEAR})"]
    operand = f"np.cos({x})" if name == "prod" else x
    return [*lines, f"{t} = np.{name}({operand}{ax})"], (), True


def scan(d, t):
    x = one(d, 1, 2, 3)
    if x is None:
        return None
    ax = single_axis(d, x)
    form = choose(
        d, "np.cumsum({x}, axis={a})", "np.cumprod(np.cos({x}), axis={a})", "np.diff({x}, axis={a})", "np.cumsum({x})",
        "np.gradient({x}, axis={a})", "np.trapezoid({x}, axis={a})", "np.cumprod(1.0 + 0.3 * {x})", "np.cumsum({x}[::-1], axis={a})[::-1]",
    )  # fmt: skip
    return [f"{t} = {form.format(x=x, a=ax)}"], (), True


def sorting(d, t):
    x = one(d, 1, 2, 3)
    if x is None:
        return None
    ax = single_axis(d, x)
    form = choose(d, "np.sort({x}, axis={a})", "np.sort({x}, axis={a})", "np.sort({x}, axis={a})[::-1]", "np.quantile({x}, 0.3, axis={a})")
    return [distinct(x, ax), f"{t} = {form.format(x=x, a=ax)}"], (), True


def product(d, t):
    x, y = one(d, 1, 2, 3), one(d, 1, 2, 3)
    if x is None:
        return None
    form = choose(
        d, "{x} @ {y}", "{x} @ {x}.T", "{x}.T @ {y}", "np.dot({x}, {y})", "np.matmul({x}, {y})", "np.outer({x}, {y})",
        "np.inner({x}, {y})", "np.tensordot({x}, {y}, axes=1)", "np.einsum('i,j->ij', {x}, {y})", "np.vdot({x}, {x})",
        "np.einsum('ij,jk->ik', {x}, {y})", "np.einsum('ij,ij->i', {x}, {y})", "np.einsum('ij->ji', {x})", "np.kron({x}, {y})",
        "np.einsum('ii->', {x})", "np.trace({x})", "np.einsum('i,ij,j->', {x}, {y}, {x})", "{x} @ c0", "c1 @ {x}",
        "np.einsum('bij,bjk->bik', {x}, {x})", "np.einsum('...i,...i->...', {x}, {y})", "np.convolve({x}, {y})",
        "np.polyval({x}, np.tanh({y}))", "np.tensordot({x}, {y}, axes=([0], [0]))", "np.convolve({x}, np.array([0.5, 1.0]), 'same')",
    )  # fmt: skip
    return [f"{t} = {form.format(x=x, y=y)}"], (), "->ji" not in form  # NumPy's einsum transposes by a view


# ── Python's control flow on recorded values ──────────────────────────────────────────────────────────────────
def branch(d, t):
    x, z = one(d), one(d)
    value = choose(d, f"np.sum({z})", f"np.max({z})", f"np.sum({z} * {z})")
    limit = repr(round(float(d.values[z].sum()) + float(d.rng.normal()) * 0.5, 2))
    a, b = choose(d, "np.sin({x})", "{x} * {x}", "{x} + 0.5", "-{x}"), choose(d, "np.tanh({x})", "0.5 * {x}", "np.exp(-{x} * {x})")
    lines = [apart(value, limit), f"if {value} > {limit}:", f"    {t} = {a.format(x=x)}", "else:", f"    {t} = {b.format(x=x)}"]
    if d.rng.random() < 0.3:
        lines = [apart(value, limit), f"{t} = {a.format(x=x)} if {value} < {limit} else {b.format(x=x)}"]
    return lines, ("branch",), True


def loop(d, t):
    x = one(d)
    n = int(d.rng.integers(2, 5))
    body = choose(d, "{t} = np.sin({t}) + 0.3 * {x}", "{t} = {t} * np.cos({x}) + {k}", "{t} = {t} + {x} * (0.5 * k)", "{t} = 0.5 * ({t} + np.tanh({t} * {x}))")
    return [f"{t} = {x} * 0.5", f"for k in range({n}):", f"    {body.format(t=t, x=x, k='0.1 * k')}"], ()


def element_loop(d, t):
    x = one(d, 1, 2)
    if x is None:
        return None
    body = choose(d, "{t} = {t} * 0.5 + np.sin(v)", "{t} = {t} + v * v", "{t} = np.tanh({t} + v)")
    return [f"{t} = 0.0 * {x}[0]", f"for v in {x}:", f"    {body.format(t=t)}"], ()


def while_loop(d, t):
    x = one(d)
    stop = number(d, 0.3, 2.0)
    test = f"np.sum(np.square({t}))"
    return [f"{t} = np.tanh({x})", f"while {test} > {stop}:", f"    {apart(test, stop)}", f"    {t} = 0.7 * {t}", apart(test, stop)], ("branch",), True


# ── writing in place ──────────────────────────────────────────────────────────────────────────────────────────
def fill(d, t):
    """A new array, filled piece by piece."""
    x = one(d, 1, 2, 3)
    if x is None:
        return None
    y = other(d, x)
    start = choose(
        d, f"np.zeros_like({x})", f"{x}.copy()", f"np.zeros({x}.shape, like={x})", f"{x} * 1.5", f"np.ones_like({x})",
        f"np.zeros({x}.shape, {x}.dtype)", f"np.full({x}.shape, {number(d)}, dtype={x}.dtype)", f"np.array({x})",
        f"np.ones({x}.T.shape, {x}.dtype).T", f"np.arange({x}.size, dtype={x}.dtype).reshape({x}.shape)",
        f"np.eye({x}.size, dtype={x}.dtype)[0].reshape({x}.shape) * {number(d)}",
    )  # fmt: skip
    lines = [f"{t} = {start}"]
    lines += [write(d, t, x, y) for _ in range(int(d.rng.integers(1, 4)))]
    return lines, ("in-place",), True


def write(d, t, x, y):
    c = number(d)
    return choose(
        d, f"{t}[0] = {y}", f"{t}[1:] += {x}[:-1]", f"{t}[:-1] *= {x}[1:]", f"{t}[::2] = np.sin({x}[::2])", f"{t}[-1] -= {c}",
        f"{t} += {y}", f"{t} *= 0.5", f"{t} -= {x}", f"{t} /= 2.0", f"{t}[...] = {x} * {x}", f"{t}[::-1] += {x}",
        f"{t}[{x} > 2.1] = {c}", f"{t}[np.array([0, -1])] = {y}", f"np.add.at({t}, k0, {x}[k0])", f"{t}[k1] = {x}", f"{t}[k1] += 2.0 * {x}",
        f"np.multiply({t}, {x}, out={t})", f"np.add({x}, {y}, out={t})", f"{t}.T[0] = {c}", f"{t}[..., 0] += {x}[..., -1]",
        f"np.sin({x}, out={t})", f"{t}[{t} < -2.2] += 1.0", f"{t}[0], {t}[-1] = {t}[-1] + 0.0, {t}[0] + 0.0",
        f"np.put({t}, np.array([0]), {c})", f"np.fill_diagonal({t}, {c})", f"{t}[1:] = {t}[:-1]", f"np.copyto({t}, {x} + {y})",
        f"for i in range(len({t}) - 1): {t}[i + 1] += 0.5 * {t}[i]", f"for i in range(len({t})): {t}[i] = np.sin({x}[i]) * {c}",
    )  # fmt: skip


def write_view(d, t):
    """A view of an array of the program's own, and a write to one of them."""
    own = [n for n in d.owned if n in d.values and d.values[n].ndim]
    if not own:
        return None
    x = str(d.rng.choice(sorted(own)))
    view = choose(d, "{x}[1:]", "{x}[::-1]", "{x}.T", "np.ravel({x})", "{x}[..., 0]", "{x}[0]", "{x}[:, None]", "{x}")
    update = choose(d, "{t} *= 1.5", "{t} += 0.5", "{x}[...] = np.sin({x})", "{x}[-1] = 0.25", "{t}[...] = 0.5 * {t}", "{x} += {x}[::-1]")
    return [f"{t} = {view.format(x=x)}", update.format(t=t, x=x)], ("in-place",)


TEMPLATES = [
    (elementwise, 8), (arithmetic, 5), (where, 2), (clip, 0.5), (basic_index, 2), (fancy_index, 1.5), (recorded_index, 1),
    (mask_index, 1), (reshape, 3), (join, 2), (reduction, 3), (scan, 1.5), (sorting, 0.8), (product, 3), (branch, 1.5),
    (loop, 1), (element_loop, 0.5), (while_loop, 0.6), (fill, 2.5), (write_view, 1.2),
]  # fmt: skip
