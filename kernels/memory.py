"""Raw memory: pointers from addresses, borrowed arrays, calls by address, memory from the C library."""

from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj
from numba.types import ExternalFunction


def _pointer_to(element):
    """An intrinsic that converts an address (an integer) to a pointer to elements of a type."""

    @intrinsic
    def pointer(typing, address):
        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64), generate

    return pointer


doubles = _pointer_to(types.float64)
integers = _pointer_to(types.int64)
words = _pointer_to(types.uint32)
indices = _pointer_to(types.int32)
halves = _pointer_to(types.uint16)
octets = _pointer_to(types.uint8)


def record_at(dtype):
    """An intrinsic that makes an address (an integer) a record of a structured dtype."""
    kind = from_dtype(dtype)

    @intrinsic
    def record(typing, address):
        def generate(context, builder, signature, arguments):  # records are held by their address
            return builder.inttoptr(arguments[0], context.get_value_type(kind))

        return kind(types.int64), generate

    return record


@intrinsic
def shift(typing, pointer, n):
    """The pointer n elements on."""

    def generate(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.int64), generate


@intrinsic
def address(typing, pointer):
    """The address of a pointer, as an integer."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(arguments[0], ir.IntType(64))

    return types.int64(pointer), generate


@intrinsic
def select(typing, condition, yes, no):
    """yes if condition, else no. Both are evaluated, so there is no branch in the code."""

    def generate(context, builder, signature, arguments):
        chosen, yes, no = arguments
        return builder.select(cgutils.as_bool_bit(builder, chosen), yes, no)

    return types.float64(types.boolean, types.float64, types.float64), generate


def _indirect(function, arguments):
    """Code generator for a call of a C function, whose address is the first argument."""

    def generate(context, builder, signature, values):
        kind = ir.FunctionType(context.get_value_type(function), [v.type for v in values[1:]])
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])

    return function(types.int64, *arguments), generate


@intrinsic
def call1(typing, function, x):
    """f(x) for the C function f at an address."""
    return _indirect(types.float64, (types.float64,))


@intrinsic
def call2(typing, function, x, y):
    """f(x, y) for the C function f at an address."""
    return _indirect(types.float64, (types.float64, types.float64))


@intrinsic
def call3(typing, function, x, y, z):
    """f(x, y, z) for the C function f at an address."""
    return _indirect(types.float64, (types.float64, types.float64, types.float64))


@intrinsic
def call_kernel(typing, function, context, inputs, outputs, work):
    """Call a kernel by its address. All arguments are addresses."""
    return _indirect(types.int64, (types.int64,) * 4)


@intrinsic
def call_entry(typing, function, arguments):
    """Call the C function at an address with a tuple of integers and addresses; it returns an integer."""

    def generate(context, builder, signature, values):
        given = cgutils.unpack_tuple(builder, values[1])
        kind = ir.FunctionType(ir.IntType(64), [v.type for v in given])
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), given)

    return types.int64(types.int64, arguments), generate


@intrinsic
def view(typing, pointer, size):
    """Array of `size` values that start at a pointer. It is borrowed: unlike numba's carray it has no reference
    counter."""
    array = types.Array(pointer.dtype, 1, "C")

    def generate(context, builder, signature, arguments):
        data, length = arguments
        width = context.get_constant(types.intp, context.get_abi_sizeof(data.type.pointee))
        result = arrayobj.make_array(array)(context, builder)
        arrayobj.populate_array(result, data, [length], [width], width, None)
        return result._getvalue()

    return array(pointer, types.int64), generate


@intrinsic
def matrix(typing, pointer, rows, columns):
    """Matrix of values that start at a pointer, row by row; borrowed like a `view`."""
    array = types.Array(pointer.dtype, 2, "C")

    def generate(context, builder, signature, arguments):
        data, *shape = arguments
        width = context.get_constant(types.intp, context.get_abi_sizeof(data.type.pointee))
        result = arrayobj.make_array(array)(context, builder)
        arrayobj.populate_array(result, data, shape, [builder.mul(shape[1], width), width], width, None)
        return result._getvalue()

    return array(pointer, types.int64, types.int64), generate


# Scratch memory by address. With numba's own allocator, the compiled code would need numba in the process.
allocate = ExternalFunction("malloc", types.int64(types.int64))
release = ExternalFunction("free", types.void(types.int64))
