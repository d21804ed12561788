"""Tables in files: what was saved is loaded, and any other content raises TableError."""

import dataclasses
import io
import json
import os
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastad.errors import TableError
from fastad.primitives.regions import region
from fastad.tables.builder import Builder
from fastad.tables.columns import Line
from fastad.tables.composites.sub import Sub
from fastad.tables.files.store import load, load_many, save, save_many
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.validate import validate

DATA = np.arange(6.0).reshape(2, 3)


def sample():
    """A table with rows of every layout: elementwise, constants, static integers, operand lists, captured data."""
    b = Builder()
    b.source_line(Line("model.py", 12, "model"))
    x, i, captured = b.input((3, 2)), b.input((4,), "i"), b.input((2, 3))
    product = b.emit("matmul", (captured, x), (1, 2, 3, 2, 0, 0, 1, 1), (2, 2))
    b.source_line(Line("model.py", 13, "model"))
    picked = b.emit("gather", (product, b.emit("wrap_index", (i,), (2,))), (2,), (4, 2))
    wave = b.emit("sin", (b.emit("multiply", (picked, b.const([[1.5, 2.5]] * 4))),))
    total = b.emit("sum", (wave,), (1, 8, 1), ())
    both = b.assemble([total, b.emit("strided", (x,), region(1, (3,), (2,)), (3,))], [(0, 1, 1), (1, 3, 1)], (4,))
    searched = b.emit("searchsorted", (both, x), (1,), (3, 2))
    b.emit("guard", (b.emit("less", (total, b.const(100.0))), b.const(True)))
    scan = b.emit("linrec", (both, both), (1, 4, 1, 0))
    top = b.emit("amax", (b.emit("cumsum", (scan,), (2, 2, 1, 1)),), (2, 2, 1), (2,))
    back = b.emit("strided_add", (top,), (0, 2, 2), (4,))
    added = b.emit("scatter_add", (picked, b.const([0, 1, 1, 0])), (2,), (2, 2))
    return b.table([total, top, searched, back, added], (DATA,))


TABLE = sample()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "table.npz"
    save(TABLE, path)
    return path


def arrays_of(path):
    """All arrays of a file, and its header as data."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    return arrays, json.loads(arrays.pop("header").tobytes())


def write(path, arrays, header):
    text = header if isinstance(header, str) else json.dumps(header)
    np.savez(path, header=np.frombuffer(text.encode(), np.uint8), **arrays)
    return path


# ── what was saved comes back ─────────────────────────────────────────────────────────────────────────────────
def test_round_trip(saved):
    table = load(saved)
    assert table == TABLE and table.lines == TABLE.lines and table.inputs == TABLE.inputs
    assert table.line_of(len(table) - 1) == Line("model.py", 13, "model")
    np.testing.assert_array_equal(table.captured[0], DATA)
    assert TABLE.captured[0] is DATA  # still referred to by the table that was recorded


def test_derived_tables_round_trip(tmp_path):
    table = adjoint_table(TABLE, [0])
    save(table, tmp_path / "adjoint")  # the name is used as it is
    assert load(tmp_path / "adjoint") == table


def test_empty_table_round_trips(tmp_path):
    table = Builder().table([])
    save(table, tmp_path / "empty.npz")
    assert load(tmp_path / "empty.npz") == table


def test_several_tables_share_their_captured_arrays(tmp_path):
    meta = {"kind": "function", "argnums": [0]}
    tables = {"value": TABLE, "gradient": adjoint_table(TABLE, [0])}
    save_many(tables, meta, tmp_path / "f.npz")
    found, read = load_many(tmp_path / "f.npz")
    assert found == tables and list(found) == list(tables) and read == meta
    assert found["value"].captured[0] is found["gradient"].captured[0]
    with pytest.raises(TableError, match="saved function"):
        load(tmp_path / "f.npz")


def test_captured_values_keep_their_dtype(tmp_path):
    kinds = {"d": np.float64, "f": np.float32, "i": np.int64, "b": np.bool_}
    b = Builder()
    refs = [b.input((2,), kind) for kind in kinds]
    save(b.table(refs, [np.array([0, 1], dtype) for dtype in kinds.values()]), tmp_path / "t.npz")
    assert [x.dtype for x in load(tmp_path / "t.npz").captured] == list(kinds.values())


def test_opcodes_are_positions_in_the_files_own_list_of_names(saved, tmp_path):
    arrays, header = arrays_of(saved)
    order = np.random.default_rng(0).permutation(len(header["tables"][0]["ops"]))
    header["tables"][0]["ops"] = [header["tables"][0]["ops"][i] for i in order]
    arrays["0.op"] = np.argsort(order)[arrays["0.op"]].astype(np.uint16)
    assert load(write(tmp_path / "t.npz", arrays, header)) == TABLE


def test_sub_programs_are_refused_when_saving_not_when_loading(tmp_path):
    table = dataclasses.replace(TABLE, subs=(Sub(1, 1, "my_solver", callback=np.sin),))
    with pytest.raises(TableError, match="my_solver"):
        save(table, tmp_path / "t.npz")
    assert not os.listdir(tmp_path)


def test_a_failed_write_leaves_the_old_file(saved, tmp_path):
    path = tmp_path / "t.npz"
    save(TABLE, path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_many({"t": TABLE}, {"not": object()}, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["t.npz"]


def test_a_file_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.npz")


# ── damage ────────────────────────────────────────────────────────────────────────────────────────────────────
def loads_or_raises(path):
    """A file either raises TableError, which names it, or gives a valid table."""
    try:
        table = load(path)
    except TableError as error:
        assert str(path) in str(error)
    else:
        validate(table)


@given(st.data())
def test_flipped_bits(saved, tmp_path_factory, data):
    raw = bytearray(saved.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "flipped.npz"
    path.write_bytes(raw)
    loads_or_raises(path)


@given(st.data())
def test_truncated(saved, tmp_path_factory, data):
    raw = saved.read_bytes()
    path = tmp_path_factory.getbasetemp() / "short.npz"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(TableError, match="not a valid fastad file"):
        load(path)


# ── files made to do harm ─────────────────────────────────────────────────────────────────────────────────────
def bad_header(change):
    def make(path, saved):
        arrays, header = arrays_of(saved)
        change(header)
        return write(path, arrays, header)

    return make


def bad_table(**changes):
    return bad_header(lambda header: header["tables"][0].update(changes))


def bad_array(name, change):
    def make(path, saved):
        arrays, header = arrays_of(saved)
        arrays[name] = change(arrays[name])
        return write(path, arrays, header)

    return make


def raw_file(content):
    def make(path, saved):
        path.write_bytes(content)
        return path

    return make


def zip_file(content, compression=zipfile.ZIP_STORED):
    def make(path, saved):
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return path

    return make


def npy(header, data=b""):
    text = repr(header).encode() if not isinstance(header, bytes) else header
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def pickled(path, saved):
    np.savez(path, header=np.array([{"format": "fastad op tables"}], object))
    return path


def compressed(path, saved):
    arrays, header = arrays_of(saved)
    np.savez_compressed(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    return path


def overlapping(path, saved):
    """A file with many entries in its directory that share the bytes of one entry."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("header.npy", b"0" * 100_000)
        first = archive.infolist()[0]
        for k in range(50):
            twin = zipfile.ZipInfo(f"{k}.npy")
            twin.CRC, twin.file_size, twin.compress_size = first.CRC, first.file_size, first.compress_size
            twin.header_offset = first.header_offset
            archive.filelist.append(twin)
    path.write_bytes(buffer.getvalue())
    return path


U8 = {"descr": "|u1", "fortran_order": False}
BAD_FILES = {
    "empty": raw_file(b""),
    "text": raw_file(b"import os\n" * 100),
    "npy": raw_file(npy(U8 | {"shape": (3,)}, b"abc")),
    "zip of something else": zip_file({"readme.txt": b"hello"}),
    "pickled objects": pickled,
    "compressed": compressed,
    "zip bomb": zip_file({"header.npy": npy(U8 | {"shape": (10**8,)}, bytes(10**8))}, zipfile.ZIP_DEFLATED),
    "overlapping entries": overlapping,
    "an array that claims more than it has": zip_file({"header.npy": npy(U8 | {"shape": (2**62,)}, b"{}")}),
    "a negative length": zip_file({"header.npy": npy(U8 | {"shape": (-2,)}, b"{}")}),
    "a two-dimensional header": zip_file({"header.npy": npy(U8 | {"shape": (1, 2)}, b"{}")}),
    "a header in code": zip_file({"header.npy": npy(b"__import__('os').abort()")}),
    "deep brackets in a header": zip_file({"header.npy": npy(b"(" * 9000)}),
    "json of another kind": zip_file({"header.npy": npy(U8 | {"shape": (2,)}, b"[]")}),
    "json too deep": zip_file({"header.npy": npy(U8 | {"shape": (10**6,)}, b"[" * 10**6)}),
    "json with an endless number": zip_file({"header.npy": npy(U8 | {"shape": (10**6,)}, b"1" * 10**6)}),
    "no utf-8": zip_file({"header.npy": npy(U8 | {"shape": (2,)}, b"\xff\xff")}),
    "another format": bad_header(lambda h: h.update(format="other")),
    "a newer version": bad_header(lambda h: h.update(version=h["version"] + 1)),
    "no version": bad_header(lambda h: h.pop("version")),
    "meta of another kind": bad_header(lambda h: h.update(meta=3)),
    "tables of another kind": bad_header(lambda h: h.update(tables={})),
    "a table of another kind": bad_header(lambda h: h.update(tables=[1])),
    "two tables of one name": bad_header(lambda h: h["tables"].append(h["tables"][0])),
    "a table without arrays": bad_header(lambda h: h["tables"].append(h["tables"][0] | {"name": "other"})),
    "unknown primitive": bad_table(ops=["input", "const", "launch_missiles"]),
    "fewer primitives than opcodes": bad_table(ops=["input"]),
    "primitives that are not names": bad_table(ops=[1, None, [], {}]),
    "no types": bad_table(types=[]),
    "types of another kind": bad_table(types=[3]),
    "negative dimension": bad_table(types=[[[-1], "d"]] * 20),
    "fractional dimension": bad_table(types=[[[1.5], "d"]] * 20),
    "true as a dimension": bad_table(types=[[[True], "d"]] * 20),
    "unknown dtype": bad_table(types=[[[1], "O"]] * 20),
    "a list as dtype": bad_table(types=[[[1], ["d"]]] * 20),
    "dimensions whose product overflows": bad_table(types=[[[2**33, 2**33], "d"]] * 20),
    "overflow hidden by a zero": bad_table(types=[[[0, 2**63, 2**63], "d"]] * 20),
    "too many dimensions": bad_table(types=[[[1] * 65, "d"]] * 20),
    "an integer beyond int64": bad_table(types=[[[10**30], "d"]] * 20),
    "no inputs": bad_table(inputs=[]),
    "inputs of another shape": bad_table(inputs=[[[1], "d"]] * 3),
    "lines of another kind": bad_table(lines=[["a", "b", "c"]]),
    "no lines": bad_table(lines=[]),
    "a result that is no row": bad_table(outputs=[10**6]),
    "a negative result": bad_table(outputs=[-1]),
    "results that are not numbers": bad_table(outputs=["0"]),
    "a captured array that is not there": bad_table(captured=[7]),
    "more captured arrays than inputs": bad_table(captured=[0] * 9),
    "captured data of another shape": bad_array("captured.0", lambda x: x[:1]),
    "captured data of another dtype": bad_array("captured.0", lambda x: x.astype(np.float32)),
    "a captured array in Fortran's order": bad_array("captured.0", np.asfortranarray),
    "a column of another dtype": bad_array("0.a", lambda x: x.astype(np.int64)),
    "a column of another byte order": bad_array("0.a", lambda x: x.astype(">i4")),
    "a column of another length": bad_array("0.a", lambda x: x[:-1]),
    "a column with two dimensions": bad_array("0.a", lambda x: x.reshape(1, -1)),
    "operands after their row": bad_array("0.a", lambda x: np.full_like(x, len(x) - 1)),
    "negative operands": bad_array("0.b", lambda x: np.full_like(x, -5)),
    "static integers far away": bad_array("0.c", lambda x: np.full_like(x, 2**31 - 1)),
    "extreme static integers": bad_array("0.statics", lambda x: np.full_like(x, 2**63 - 1)),
    "no static integers": bad_array("0.statics", lambda x: x[:0]),
    "no constants": bad_array("0.constants", lambda x: x[:0]),
    "no operand lists": bad_array("0.operands", lambda x: x[:0]),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_are_refused(kind, saved, tmp_path):
    path = BAD_FILES[kind](tmp_path / "bad.npz", saved)
    with pytest.raises(TableError) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_refusing_a_bomb_takes_no_memory(tmp_path):
    """In a process with a memory limit below what the files claim to hold."""
    resource = pytest.importorskip("resource")
    assert resource
    paths = [tmp_path / f"{k}.npz" for k in range(3)]
    for kind, path in zip(("zip bomb", "an array that claims more than it has", "json too deep"), paths, strict=True):
        BAD_FILES[kind](path, None)
    program = """
        import resource, sys
        from fastad.errors import TableError
        from fastad.tables.files.store import load
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for path in sys.argv[1:]:
            try:
                load(path)
            except TableError:
                continue
            raise SystemExit(path + " was accepted")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), *map(str, paths)], check=True, timeout=60)
