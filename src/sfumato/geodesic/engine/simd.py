"""Sixteen float32 or float64 lanes as one Numba value: vector code without a compiler on the user's machine.

Numba turns Python into LLVM's intermediate language, which has vector types of its own. The functions here
each emit one such vector operation. LLVM then fits ``<16 x float>`` to the processor it runs on: one AVX-512
register, two of AVX2, four of SSE2 or NEON; twice as many for ``<16 x double>``. One source therefore serves
every processor, no operation is reordered or fused, and all of them compute the same bits.

A comparison gives an integer whose bit ``i`` tells about lane ``i``.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, register_model

# ruff: noqa: ANN001, ANN201, ANN202, ANN401  # The arguments are LLVM's and Numba's own objects.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

intrinsic: Any = (
    extending.intrinsic
)  # Called from Python, an intrinsic has other arguments than in compiled code.
LANES = 16
_INDEX = ir.IntType(32)
_VECTORS = {
    types.float32: ir.VectorType(ir.FloatType(), LANES),
    types.float64: ir.VectorType(ir.DoubleType(), LANES),
}


class LanesType(types.Type):
    """Numba's type of a value of sixteen lanes of one floating type."""

    def __init__(self, scalar: Any) -> None:
        self.scalar = scalar
        super().__init__(name=f"{scalar}x{LANES}")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _VECTORS[fe_type.scalar])


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTORS[array_type.dtype].as_pointer())


def _call(builder: Any, name: str, value: Any) -> Any:
    suffix = "f32" if value.type == _VECTORS[types.float32] else "f64"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(value.type, [value.type]), f"llvm.{name}.v{LANES}{suffix}"
    )
    return builder.call(function, [value])


@intrinsic
def load(typingctx, array, index):
    """Return the sixteen values of the one-dimensional ``array`` from ``index`` on."""

    def emit(context, builder, signature, args):
        address = _address(context, builder, signature.args[0], *args)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return LanesType(array.dtype)(array, types.intp), emit


@intrinsic
def store(typingctx, array, index, value):
    """Write sixteen lanes to ``array`` from ``index`` on."""

    def emit(context, builder, signature, args):
        address = _address(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), emit


@intrinsic
def splat(typingctx, value):
    """Return the same number in every lane."""

    def emit(context, builder, signature, args):
        nothing = ir.Constant(_VECTORS[value], ir.Undefined)
        one = builder.insert_element(nothing, args[0], ir.Constant(_INDEX, 0))
        zeros = ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES)
        return builder.shuffle_vector(one, nothing, zeros)

    return LanesType(value)(value), emit


def _binary(operation: str, doc: str) -> Any:
    def function(typingctx, first, second):
        def emit(context, builder, signature, args):
            return getattr(builder, operation)(*args)

        return first(first, second), emit

    function.__doc__ = doc
    function.__name__ = operation
    return intrinsic(function)


add = _binary("fadd", "Sum of two vectors.")
subtract = _binary("fsub", "Difference of two vectors.")
multiply = _binary("fmul", "Product of two vectors.")
divide = _binary("fdiv", "Quotient of two vectors.")


@intrinsic
def absolute(typingctx, value):
    """Return the absolute value of every lane."""

    def emit(context, builder, signature, args):
        return _call(builder, "fabs", args[0])

    return value(value), emit


@intrinsic
def root(typingctx, value):
    """Return the square root of every lane, correctly rounded."""

    def emit(context, builder, signature, args):
        return _call(builder, "sqrt", args[0])

    return value(value), emit


@intrinsic
def lower(typingctx, candidate, value):
    """Return ``candidate`` where it is smaller, else ``value``; a NaN in ``candidate`` never wins."""

    def emit(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return value(candidate, value), emit


@intrinsic
def below(typingctx, candidate, value):
    """Return which lanes of ``candidate`` are smaller, as bits of an integer."""

    def emit(context, builder, signature, args):
        flags = builder.fcmp_ordered("<", *args)
        return builder.zext(builder.bitcast(flags, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(candidate, value), emit


def _shift(order: list[int], doc: str, name: str) -> Any:
    def function(typingctx, edge, value):
        def emit(context, builder, signature, args):
            lanes = ir.Constant(ir.VectorType(_INDEX, LANES), order)
            return builder.shuffle_vector(*args, lanes)

        return value(edge, value), emit

    function.__doc__ = doc
    function.__name__ = name
    return intrinsic(function)


from_left = _shift(
    [LANES - 1, *range(LANES, 2 * LANES - 1)],
    "Lane ``i`` takes ``value[i - 1]``; the first takes ``edge[15]``.",
    "from_left",
)
from_right = _shift(
    [*range(LANES + 1, 2 * LANES), 0],
    "Lane ``i`` takes ``value[i + 1]``; the last takes ``edge[0]``.",
    "from_right",
)


@intrinsic
def highest_bit(typingctx, bits):
    """Return the index of the highest set bit of a non-zero 64-bit integer."""

    def emit(context, builder, signature, args):
        zeros = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(ir.IntType(64), 63), zeros)

    return types.int64(types.uint64), emit


@intrinsic
def lowest_bit(typingctx, bits):
    """Return the index of the lowest set bit of a non-zero 64-bit integer."""

    def emit(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), emit


@intrinsic
def fetch(typingctx, array, index):
    """Have the cache line of ``array[index]`` brought, to be read soon; ``index`` may lie outside."""

    def emit(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        byte = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte, number, number, number]),
            "llvm.prefetch.p0i8",
        )
        address = builder.bitcast(builder.gep(data, [args[1]]), byte)
        builder.call(function, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), emit
