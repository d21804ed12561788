"""Random straight-line scalar programs, as Python source.

A program maps a vector of ten numbers to a number by exactly `rows` scalar operations. It consists of blocks of 500
operations. In a block, ten registers start from the inputs; 490 operations overwrite a register by a function of itself
and, mostly, of another one, so that no row is dead; and ten additions add the registers to the total. Blocks keep a
program of any length well conditioned. While it is generated, the program is evaluated with its ten tangents, and an
operation is rejected where its result would leave [-3, 3] or a tangent would exceed 20.
"""
import linecache

import numpy as np

INPUTS, BLOCK = 10, 500

# text of the operation, its value, its partial derivatives by (a, b); "{a}" is the register that is overwritten
OPERATIONS = (
    ("{a} + {b}", lambda a, b: (a + b, 1.0, 1.0)),
    ("{a} - {b}", lambda a, b: (a - b, 1.0, -1.0)),
    ("{a} * {b}", lambda a, b: (a * b, b, a)),
    ("{a} / {b}", lambda a, b: (a / b, 1 / b, -a / b**2)),
    ("np.sin({a})", lambda a, b: (np.sin(a), np.cos(a), 0.0)),
    ("np.cos({a})", lambda a, b: (np.cos(a), -np.sin(a), 0.0)),
    ("np.exp({a})", lambda a, b: (np.exp(a), np.exp(a), 0.0)),
    ("np.tanh({a})", lambda a, b: (np.tanh(a), 1 - np.tanh(a) ** 2, 0.0)),
    ("np.sqrt({a})", lambda a, b: (np.sqrt(a), 0.5 / np.sqrt(a), 0.0) if a > 0.05 else None),
    ("np.log({a})", lambda a, b: (np.log(a), 1 / a, 0.0) if a > 0.05 else None),
)
SHARE = np.array([3, 3, 4, 2, 1, 1, 1, 1, 0.5, 0.5])  # seven tenths arithmetic


def make_source(rows: int, x: np.ndarray, seed: int = 0) -> str:
    """Source text of `program(x)` with exactly `rows` operations, well conditioned at `x`. Each block is a function."""
    rng = np.random.default_rng(seed)
    arguments = ", ".join(f"x{i}" for i in range(INPUTS))
    functions, calls, total = [], [], "None"
    for number, start in enumerate(range(0, rows, BLOCK)):
        body = _block(min(BLOCK, rows - start), x, rng, first=number == 0)
        functions += [f"def block_{number}(total, {arguments}):", *body, ""]
        calls.append(f"    total = block_{number}({total}, {arguments})")
        total = "total"
    inputs = [f"    x{i} = x[{i}]" for i in range(INPUTS)]
    return "\n".join([*functions, "def program(x):", *inputs, *calls, "    return total", ""])


def _block(rows, x, rng, first):
    """Lines of a block's body; the first block has no total to add to."""
    names = [f"x{i}" for i in range(INPUTS)]
    values, tangents = list(map(float, x)), list(np.eye(INPUTS))
    lines = []
    for _ in range(max(rows - INPUTS + first, 0)):
        i, j, text, value, tangent = _draw(values, tangents, rng)
        lines.append(f"    r{i} = " + text.format(a=names[i], b=names[j]))
        names[i], values[i], tangents[i] = f"r{i}", value, tangent
    terms = names if not first else names[1:]
    start = [] if not first else [f"    total = {names[0]}"]
    return lines + start + [f"    total = total + {name}" for name in terms[:rows]] + ["    return total"]


def _draw(values, tangents, rng):
    """An operation and two registers that keep the values and tangents in range."""
    while True:
        text, rule = OPERATIONS[rng.choice(len(OPERATIONS), p=SHARE / SHARE.sum())]
        i, j = rng.integers(INPUTS, size=2)
        if i == j or ("/" in text and abs(values[j]) < 0.3):
            continue
        result = rule(values[i], values[j])
        if result is None or abs(result[0]) > 3:
            continue
        tangent = result[1] * tangents[i] + result[2] * tangents[j]
        if 0.01 < np.abs(tangent).max() < 20:
            return i, j, text, float(result[0]), tangent


def compile_source(source: str, namespace, name: str):
    """The function of `source` with `np` bound to `namespace`. Tracebacks can show its lines."""
    filename = f"<{name} for {namespace.__name__}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    scope = {"np": namespace}
    exec(compile(source, filename, "exec"), scope)
    return scope["program"]
