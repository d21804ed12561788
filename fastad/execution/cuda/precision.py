"""Programs that compute in float32.

Text of double precision becomes text of single precision: operations, functions and constants. Numbers stay 8 bytes
apart in the vectors of a program, so all places are the same, addresses fit in between, and translated kernels need no
second version; what a thread's stack leaves unused costs no traffic, since local memory is interleaved by words of 4
bytes.
"""

import re
import struct

import numpy as np

_LITERAL = re.compile(r"\b0x([0-9A-F]{16})\b")
_PLACES = re.compile(r"(getelementptr (?:inbounds )?)float\b|(\[\d+ x )float\b")
_TABLE = re.compile(r"^(@[\w.$]+ = internal constant )\[(\d+) x double\] \[(.*)\]$", re.MULTILINE)


def single(text: str) -> str:
    """The text with float32 in place of float64."""
    text = _TABLE.sub(_words, text)
    text = re.sub(r"\bdouble\b", "float", text).replace(".f64", ".f32").replace("v1f64", "v1f32")
    text = _PLACES.sub(lambda found: f"{found[1] or found[2]}double", text)
    return _LITERAL.sub(lambda found: _rounded(found[1]), text)


def _rounded(bits: str) -> str:
    (x,) = struct.unpack(">d", bytes.fromhex(bits))
    return f"0x{struct.pack('>d', float(_as_single(x))).hex().upper()}"


def _as_single(x: float) -> np.float32:
    """The constant in float32. Few times the precision of float64 become as many times that of float32, so does what
    numbers are multiplied by to be cut to eight bits (`fastad.kernels.stepsize.rounded`), and what would be 0, where it
    keeps a division from that, the smallest number."""
    if x == _EIGHT_BITS:
        return np.float32(2.0**16)
    if 1.0 <= (times := x * 2.0**52) <= _FEW and times == int(times):
        return np.float32(times * 2.0**-23)
    with np.errstate(over="ignore", under="ignore"):
        found = np.float32(x)
    return found if found or not x else np.float32(np.copysign(np.finfo(np.float32).tiny, x))


_EIGHT_BITS, _FEW = 2.0**45, 128


def _words(found: re.Match[str]) -> str:
    """A table of constants as words of 8 bytes, whose first 4 are the number."""
    words = []
    for bits in _LITERAL.findall(found[3]):
        (x,) = struct.unpack(">d", bytes.fromhex(bits))
        (word,) = struct.unpack("<I", struct.pack("<f", _as_single(x)))
        words.append(f"i64 {word}")
    return f"{found[1]}[{found[2]} x i64] [{', '.join(words)}]"
