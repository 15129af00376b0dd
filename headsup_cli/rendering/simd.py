"""Sixteen-lane vectors inside numba kernels: what the auto-vectoriser cannot be trusted with, said outright.

A `Vector` is LLVM's `<16 x float>` (or double, for the tests); LLVM maps it to one AVX-512 register, two of AVX2, four
of NEON. Operators work lane by lane and broadcast scalars, comparisons give a `Mask`.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16
_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_SUFFIX = {types.float32: "f32", types.float64: "f64"}


class Vector(types.Type):
    """Sixteen floats."""

    def __init__(self, element: types.Type) -> None:
        self.element = element
        super().__init__(f"Vector({element})")


class Mask(types.Type):
    """Sixteen truth values."""

    def __init__(self) -> None:
        super().__init__("Mask")


MASK = Mask()


def _llvm_vector(context: Any, vector: Vector) -> ir.Type:
    return ir.VectorType(context.get_value_type(vector.element), LANES)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        element = ir.FloatType() if fe_type.element == types.float32 else ir.DoubleType()
        super().__init__(dmm, fe_type, ir.VectorType(element, LANES))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Mask) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(_I1, LANES))


def _splat(builder: Any, value: Any) -> Any:
    vector = ir.VectorType(value.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _constant(llvm_type: Any, value: Any) -> Any:
    return ir.Constant(llvm_type, [value] * LANES)


def _as_vector(context: Any, builder: Any, value: Any, kind: types.Type, vector: Vector) -> Any:
    if isinstance(kind, Vector):
        return value
    return _splat(builder, context.cast(builder, value, kind, vector.element))


def _vector_of(args: Any) -> Any:
    return next((arg for arg in args if isinstance(arg, Vector)), None)


def _register_operator(op: Callable, compares: bool, emit: Callable) -> None:
    @infer_global(op)
    class _Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            vector = _vector_of(args)
            if vector is None or kws or not all(isinstance(a, Vector | types.Number) for a in args):
                return None
            return signature(MASK if compares else vector, *(types.unliteral(a) for a in args))

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = _vector_of(sig.args)
        return emit(builder, *(_as_vector(context, builder, a, t, vector) for a, t in zip(args, sig.args, strict=True)))

    lower_builtin(op, Vector, Vector)(lower)
    lower_builtin(op, Vector, types.Number)(lower)
    lower_builtin(op, types.Number, Vector)(lower)


for _ops, _name in (
    ((operator.add, operator.iadd), "fadd"),
    ((operator.sub, operator.isub), "fsub"),
    ((operator.mul, operator.imul), "fmul"),
    ((operator.truediv, operator.itruediv), "fdiv"),
):
    for _op in _ops:
        _register_operator(_op, False, lambda builder, a, b, name=_name: getattr(builder, name)(a, b))
for _op, _sign in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
    _register_operator(_op, True, lambda builder, a, b, sign=_sign: builder.fcmp_ordered(sign, a, b))


@infer_global(operator.neg)
class _Negate(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], args[0]) if isinstance(args[0], Vector) else None


@lower_builtin(operator.neg, Vector)
def _negate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fneg(args[0])


def _register_mask_operator(op: Callable, name: str) -> None:
    @infer_global(op)
    class _Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            return signature(MASK, MASK, MASK) if args == (MASK, MASK) else None

    lower_builtin(op, Mask, Mask)(lambda context, builder, sig, args: getattr(builder, name)(*args))


for _op in (operator.and_, operator.iand):
    _register_mask_operator(_op, "and_")
for _op in (operator.or_, operator.ior):
    _register_mask_operator(_op, "or_")


@infer_global(operator.invert)
class _Invert(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(MASK, MASK) if args == (MASK,) else None


@lower_builtin(operator.invert, Mask)
def _invert(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.not_(args[0])


def _llvm_function(name: str, arity: int) -> Any:
    """An intrinsic calling LLVM's `name`, overloaded on the vector type, with scalars broadcast."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = _vector_of(sig.args)
        values = [_as_vector(context, builder, a, t, vector) for a, t in zip(args, sig.args, strict=True)]
        kind = values[0].type
        return _call(builder, f"{name}.v{LANES}{_SUFFIX[vector.element]}", kind, values)

    def typing(*args: Any) -> Any:
        vector = _vector_of(args)
        return (signature(vector, *(types.unliteral(a) for a in args)), codegen) if vector else None

    if arity == 1:
        return intrinsic(lambda typingctx, a: typing(a))
    if arity == 2:
        return intrinsic(lambda typingctx, a, b: typing(a, b))
    return intrinsic(lambda typingctx, a, b, c: typing(a, b, c))


def _call(builder: Any, name: str, result: Any, values: list) -> Any:
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [value.type for value in values]), name
    )
    return builder.call(function, values)


fma = _llvm_function("llvm.fma", 3)
absolute = _llvm_function("llvm.fabs", 1)
square_root = _llvm_function("llvm.sqrt", 1)
floor = _llvm_function("llvm.floor", 1)
ceil = _llvm_function("llvm.ceil", 1)


def _extremum(sign: str) -> Any:
    """`a` where it compares by `sign` with `b`, else `b`: one instruction, where LLVM's minnum takes three for NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = _vector_of(sig.args)
        a, b = (_as_vector(context, builder, arg, kind, vector) for arg, kind in zip(args, sig.args, strict=True))
        return builder.select(builder.fcmp_ordered(sign, a, b), a, b)

    def typing(typingctx: Any, a: Any, b: Any) -> Any:
        return signature(_vector_of((a, b)), types.unliteral(a), types.unliteral(b)), codegen

    return intrinsic(typing)


minimum = _extremum("<")
maximum = _extremum(">")


@intrinsic
def broadcast(typingctx: Any, like: Any, value: Any) -> Any:
    """`value` in every lane of a vector of the element type of the array or vector `like`."""
    vector = like if isinstance(like, Vector) else Vector(like.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _as_vector(context, builder, args[1], sig.args[1], vector)

    return signature(vector, like, types.unliteral(value)), codegen


@intrinsic
def select(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """Lanes of `a` where `mask`, of `b` elsewhere."""
    vector = _vector_of((a, b))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        chosen = [_as_vector(context, builder, args[i], sig.args[i], vector) for i in (1, 2)]
        return builder.select(args[0], *chosen)

    return signature(vector, MASK, types.unliteral(a), types.unliteral(b)), codegen


@intrinsic
def lane_bits(typingctx: Any, mask: Any) -> Any:
    """The mask as an integer, lane 0 in the lowest bit."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), _I32)

    return types.uint32(MASK), codegen


@intrinsic
def mask_of(typingctx: Any, bits: Any) -> Any:
    """The opposite of `lane_bits`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = context.cast(builder, args[0], sig.args[0], types.uint16)
        return builder.bitcast(value, ir.VectorType(_I1, LANES))

    return MASK(types.unliteral(bits)), codegen


@intrinsic
def first_lanes(typingctx: Any, count: Any) -> Any:
    """A mask with the lanes below `count` set."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        wanted = _splat(builder, context.cast(builder, args[0], sig.args[0], types.int32))
        return builder.icmp_signed("<", ir.Constant(wanted.type, list(range(LANES))), wanted)

    return signature(MASK, types.unliteral(count)), codegen


@intrinsic
def trailing_zeros(typingctx: Any, bits: Any) -> Any:
    """Index of the lowest set bit of a non-zero uint32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = context.cast(builder, args[0], sig.args[0], types.uint32)
        count = _call(builder, "llvm.cttz.i32", _I32, [value, ir.Constant(_I1, 1)])
        return builder.zext(count, _I64)

    return signature(types.int64, types.unliteral(bits)), codegen


@intrinsic
def bit_count(typingctx: Any, bits: Any) -> Any:
    """How many bits of an uint32 are set."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = context.cast(builder, args[0], sig.args[0], types.uint32)
        return builder.zext(_call(builder, "llvm.ctpop.i32", _I32, [value]), _I64)

    return signature(types.int64, types.unliteral(bits)), codegen


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, index_type: Any) -> Any:
    data = (
        array
        if isinstance(array_type, types.CPointer)
        else context.make_array(array_type)(context, builder, array).data
    )
    return builder.gep(data, [context.cast(builder, index, index_type, types.int64)])


@intrinsic
def pointer(typingctx: Any, array: Any) -> Any:
    """The address of an array's elements: indexed with no test for negative numbers, passed on with no reference count.

    Everything here that takes an array takes a pointer too. The array must be kept alive by whoever called the kernel.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def moved(typingctx: Any, array: Any, distance: Any) -> Any:
    """A pointer `distance` elements on."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _pointer(context, builder, sig.args[0], args[0], args[1], sig.args[1])

    return signature(types.CPointer(array.dtype), array, types.unliteral(distance)), codegen


@intrinsic
def integers(typingctx: Any, array: Any) -> Any:
    """A pointer to the same memory as integers of the same size."""
    kind = types.int32 if array.dtype == types.float32 else types.int64

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _pointer(context, builder, array, args[0], context.get_constant(types.int64, 0), types.int64)
        return builder.bitcast(place, context.get_data_type(kind).as_pointer())

    return types.CPointer(kind)(array), codegen


@intrinsic
def transpose(typingctx: Any, array: Any) -> Any:
    """Swap the rows and columns of the first sixteen times sixteen elements."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(context.get_value_type(array.dtype), LANES)
        start = _pointer(context, builder, array, args[0], context.get_constant(types.int64, 0), types.int64)
        places = [builder.gep(start, [ir.Constant(_I64, LANES * i)]) for i in range(LANES)]
        places = [builder.bitcast(place, kind.as_pointer()) for place in places]
        rows = _transposed(builder, [builder.load(place, align=array.dtype.bitwidth // 8) for place in places])
        for row, place in zip(rows, places, strict=True):
            builder.store(row, place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array), codegen


@intrinsic(prefer_literal=True)
def stack(typingctx: Any, like: Any, size: Any) -> Any:
    """A pointer to `size` (a constant) uninitialised elements on a cache line, until the caller returns.

    Their type is that of `like` or of its elements.

    To be called in the kernel itself: what an inlined function has taken ends with that function.
    """
    if not isinstance(size, types.IntegerLiteral):
        return None
    element = getattr(like, "dtype", like)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = context.get_data_type(element)
        memory = cgutils.alloca_once(builder, ir.ArrayType(kind, size.literal_value))
        memory.align = 64
        return builder.bitcast(memory, kind.as_pointer())

    return signature(types.CPointer(element), like, size), codegen


def _vector_pointer(context: Any, builder: Any, sig: Any, args: Any, llvm_type: Any) -> Any:
    pointer = _pointer(context, builder, sig.args[0], args[0], args[1], sig.args[1])
    return builder.bitcast(pointer, llvm_type.as_pointer())


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """Sixteen consecutive elements of a flat array."""
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _vector_pointer(context, builder, sig, args, _llvm_vector(context, vector))
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return signature(vector, array, types.unliteral(index)), codegen


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a vector to sixteen consecutive elements of a flat array; into an integer array, truncated."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector, bits = args[2], array.dtype.bitwidth
        if isinstance(array.dtype, types.Integer):
            vector = builder.fptosi(vector, ir.VectorType(ir.IntType(bits), LANES))
        place = _vector_pointer(context, builder, sig, args, vector.type)
        builder.store(vector, place, align=bits // 8)
        return context.get_dummy_value()

    return signature(types.void, array, types.unliteral(index), value), codegen


def _masked(name: str, vector: Vector, llvm_vector: Any) -> str:
    return f"llvm.masked.{name}.v{LANES}{_SUFFIX[vector.element]}.p0"


@intrinsic
def load_lanes(typingctx: Any, array: Any, index: Any, mask: Any) -> Any:
    """Like `load`, reading only the lanes of `mask`; 0 elsewhere."""
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = _llvm_vector(context, vector)
        place = _vector_pointer(context, builder, sig, args, kind)
        alignment = ir.Constant(_I32, array.dtype.bitwidth // 8)
        values = [place, alignment, args[2], _constant(kind, 0.0)]
        return _call(builder, _masked("load", vector, kind), kind, values)

    return signature(vector, array, types.unliteral(index), MASK), codegen


@intrinsic
def store_lanes(typingctx: Any, array: Any, index: Any, value: Any, mask: Any) -> Any:
    """Like `store`, writing only the lanes of `mask`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[2].type
        place = _vector_pointer(context, builder, sig, args, kind)
        alignment = ir.Constant(_I32, array.dtype.bitwidth // 8)
        _call(builder, _masked("store", value, kind), ir.VoidType(), [args[2], place, alignment, args[3]])
        return context.get_dummy_value()

    return signature(types.void, array, types.unliteral(index), value, MASK), codegen


@intrinsic
def load_strided(typingctx: Any, array: Any, index: Any, stride: Any, count: Any) -> Any:
    """Lane i from `array[index + i * stride]` for i < count; the lanes above repeat lane 0."""
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first = _pointer(context, builder, sig.args[0], args[0], args[1], sig.args[1])
        step = context.cast(builder, args[2], sig.args[2], types.int64)
        limit = context.cast(builder, args[3], sig.args[3], types.int64)
        result = ir.Constant(_llvm_vector(context, vector), ir.Undefined)
        for lane in range(LANES):
            position = ir.Constant(_I64, lane)
            inside = builder.icmp_signed("<", position, limit)
            offset = builder.select(inside, builder.mul(position, step), ir.Constant(_I64, 0))
            value = builder.load(builder.gep(first, [offset]))
            result = builder.insert_element(result, value, ir.Constant(_I32, lane))
        return result

    return signature(vector, array, *(types.unliteral(a) for a in (index, stride, count))), codegen


@intrinsic
def add_strided(typingctx: Any, array: Any, index: Any, stride: Any, value: Any, mask: Any) -> Any:
    """Add lane i to `array[index + i * stride]` for the lanes of `mask`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first = _pointer(context, builder, sig.args[0], args[0], args[1], sig.args[1])
        step = context.cast(builder, args[2], sig.args[2], types.int64)
        for lane in range(LANES):
            at = ir.Constant(_I32, lane)
            with builder.if_then(builder.extract_element(args[4], at)):
                place = builder.gep(first, [builder.mul(ir.Constant(_I64, lane), step)])
                builder.store(builder.fadd(builder.load(place), builder.extract_element(args[3], at)), place)
        return context.get_dummy_value()

    return signature(types.void, array, types.unliteral(index), types.unliteral(stride), value, MASK), codegen


def shuffle(inputs: int, lanes: tuple[int, ...]) -> Any:
    """An intrinsic of `inputs` vectors whose lane i is element `lanes[i]` of their concatenation (-1: any value)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _shuffled(builder, args, lanes)

    def typing(*args: Any) -> Any:
        return signature(args[0], *args), codegen

    if inputs == 3:
        return intrinsic(lambda typingctx, a, b, c: typing(a, b, c))
    return intrinsic(lambda typingctx, a, b, c, d: typing(a, b, c, d))


def _shuffled(builder: Any, vectors: Any, lanes: tuple[int, ...]) -> Any:
    result = ir.Constant(vectors[0].type, ir.Undefined)
    for which, vector in enumerate(vectors):
        taken = [lane // LANES == which and lane >= 0 for lane in lanes]
        if any(taken):
            index = [
                LANES + lane % LANES if take else i for i, (lane, take) in enumerate(zip(lanes, taken, strict=True))
            ]
            result = builder.shuffle_vector(result, vector, ir.Constant(ir.VectorType(_I32, LANES), index))
    return result


# Row b: the places of the bits that are set in the byte b, lowest first, then zeros
BIT_PLACES = np.zeros((256, 8), np.uint8)
for _byte in range(256):
    _places = [bit for bit in range(8) if _byte >> bit & 1]
    BIT_PLACES[_byte, : len(_places)] = _places


@intrinsic
def append_places(typingctx: Any, target: Any, index: Any, base: Any, bits: Any, table: Any) -> Any:
    """Write `base` plus the place of each of sixteen bits that is set to `target[index:]`; return how many there are.

    The target is of int32, `table` is `BIT_PLACES`. Up to sixteen elements are written, those past the last place with
    `base` or `base` + 8. A byte at a time from a table, because only AVX-512 has an instruction for it.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        eight = ir.VectorType(_I32, LANES // 2)
        word = context.cast(builder, args[3], sig.args[3], types.uint16)
        undefined = ir.Constant(eight, ir.Undefined)
        first = builder.insert_element(undefined, context.cast(builder, args[2], sig.args[2], types.int32), _I32(0))
        bases = builder.shuffle_vector(first, undefined, ir.Constant(eight, [0] * 8))
        at = context.cast(builder, args[1], sig.args[1], types.int64)
        count = _I64(0)
        for shift in (0, 8):
            byte = builder.trunc(builder.lshr(word, ir.Constant(word.type, shift)), _I8)
            row = builder.shl(builder.zext(byte, _I64), _I64(3))
            place = _pointer(context, builder, sig.args[4], args[4], row, types.int64)
            places = builder.load(builder.bitcast(place, ir.VectorType(_I8, 8).as_pointer()), align=1)
            found = builder.add(builder.add(bases, ir.Constant(eight, [shift] * 8)), builder.zext(places, eight))
            to = _pointer(context, builder, sig.args[0], args[0], builder.add(at, count), types.int64)
            builder.store(found, builder.bitcast(to, eight.as_pointer()), align=4)
            count = builder.add(count, builder.zext(_call(builder, "llvm.ctpop.i8", _I8, [byte]), _I64))
        return count

    return signature(types.int64, *(types.unliteral(a) for a in (target, index, base, bits)), table), codegen


@intrinsic
def load_fields(typingctx: Any, rows: Any, base: Any, indices: Any, start: Any) -> Any:
    """The first eight fields of sixteen rows of 16, those of `indices[start:]`: a vector per field.

    Row 0 begins at `rows[base]`.
    """
    vector = Vector(rows.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        half = ir.VectorType(context.get_value_type(rows.dtype), 8)
        first = _pointer(context, builder, sig.args[2], args[2], args[3], sig.args[3])
        origin = _pointer(context, builder, sig.args[0], args[0], args[1], sig.args[1])
        loaded = []
        for lane in range(LANES):
            row = builder.sext(builder.load(builder.gep(first, [ir.Constant(_I64, lane)])), _I64)
            place = builder.gep(origin, [builder.mul(row, ir.Constant(_I64, LANES))])
            loaded.append(builder.load(builder.bitcast(place, half.as_pointer()), align=rows.dtype.bitwidth // 8))
        joined = ir.Constant(ir.VectorType(_I32, LANES), list(range(LANES)))
        fields = [builder.shuffle_vector(a, b, joined) for a, b in zip(loaded[:8], loaded[8:], strict=True)]
        return context.make_tuple(builder, sig.return_type, _transposed(builder, fields))

    return signature(types.UniTuple(vector, 8), rows, types.unliteral(base), indices, types.unliteral(start)), codegen


def _transposed(builder: Any, rows: list) -> list:
    """Swap the numbers of rows with those of lanes, modulo the number of rows, a bit at a time."""
    for step in (1 << bit for bit in range(len(rows).bit_length() - 1)):
        for i in (i for i in range(len(rows)) if not i & step):
            rows[i], rows[i | step] = _exchanged(builder, rows[i], rows[i | step], step)
    return rows


def _exchanged(builder: Any, a: Any, b: Any, step: int) -> tuple[Any, Any]:
    low = [lane if not lane & step else LANES + (lane ^ step) for lane in range(LANES)]
    high = [LANES + lane if lane & step else lane | step for lane in range(LANES)]
    index = ir.VectorType(_I32, LANES)
    return tuple(builder.shuffle_vector(a, b, ir.Constant(index, lanes)) for lanes in (low, high))


@intrinsic
def lane_sums(typingctx: Any, vectors: Any) -> Any:
    """One vector whose lane i is the sum of the lanes of the i-th vector of a tuple of at most 16."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = cgutils.unpack_tuple(builder, args[0], len(vectors))
        width = LANES
        while width > 1:
            rows = [_folded_pair(builder, rows[i : i + 2], width) for i in range(0, len(rows), 2)]
            width //= 2
        return _shuffled(builder, rows, tuple(int(f"{i:04b}"[::-1], 2) for i in range(LANES)))

    return signature(vectors[0], vectors), codegen


def _folded_pair(builder: Any, pair: list, width: int) -> Any:
    """Halve the width of two rows packed in segments of `width`: the first's halves summed, then the second's."""
    first, second = pair[0], pair[-1]
    half = width // 2
    starts = range(0, LANES, width)
    low, high = (
        [start + side + i + source for start in starts for source in (0, LANES) for i in range(half)]
        for side in (0, half)
    )
    index = ir.VectorType(_I32, LANES)
    return builder.fadd(
        builder.shuffle_vector(first, second, ir.Constant(index, low)),
        builder.shuffle_vector(first, second, ir.Constant(index, high)),
    )


@intrinsic
def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of `array[index]`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _pointer(context, builder, sig.args[0], args[0], args[1], sig.args[1])
        raw = builder.bitcast(place, _I8.as_pointer())
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), [raw, *(ir.Constant(_I32, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return signature(types.void, array, types.unliteral(index)), codegen


@intrinsic
def take_ticket(typingctx: Any, counter: Any) -> Any:
    """The value of `counter[0]`, which goes up by one: work shared out among threads."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _pointer(context, builder, counter, args[0], context.get_constant(types.int64, 0), types.int64)
        return builder.atomic_rmw("add", place, ir.Constant(_I64, 1), "monotonic")

    return signature(types.int64, counter), codegen


@intrinsic
def bits_of(typingctx: Any, value: Any) -> Any:
    """The bits of a float32 as an uint32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(context.cast(builder, args[0], sig.args[0], types.float32), _I32)

    return signature(types.uint32, value), codegen


@intrinsic
def use_full_width(typingctx: Any) -> Any:
    """Let LLVM use 512-bit registers in the calling function, where the machine has them."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for attribute in ('"prefer-vector-width"="512"', '"min-legal-vector-width"="512"'):
            set.add(builder.function.attributes, attribute)  # llvmlite's own `add` knows no string attributes
        return context.get_dummy_value()

    return types.void(), codegen


def _exp2_polynomial() -> list[float]:
    """2^x on [-1/2, 1/2] to 2e-7, lowest power first: least squares in relative error at Chebyshev nodes."""
    x = 0.5 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    powers = x[:, None] ** np.arange(6) / 2.0 ** x[:, None]
    return [float(c) for c in np.linalg.lstsq(powers, np.ones(400), rcond=None)[0]]


# What `exp2` computes with. Kernels load these from an array, as LLVM keeps loaded values in registers but constants in
# memory, and instructions that fetch their operands by 64-bit addresses are too long for the processor's decoders.
EXP2_CONSTANTS = (1.5 * 2.0**23, *_exp2_polynomial())


@intrinsic
def exp2(typingctx: Any, power: Any, constants: Any) -> Any:
    """2^power for -126 <= power <= 126; anything at all in lanes outside that range.

    `constants` is a tuple of vectors that hold `EXP2_CONSTANTS`.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, kind = args[0], args[0].type
        if power.element == types.float64:
            return _call(builder, f"llvm.exp2.v{LANES}f64", kind, [x])
        integers = ir.VectorType(_I32, LANES)
        shifter, *coefficients = cgutils.unpack_tuple(builder, args[1], len(constants))
        shifted = builder.fadd(x, shifter)  # rounds to an integer, left in the lowest bits
        fraction = builder.fsub(x, builder.fsub(shifted, shifter))
        value = coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            value = _call(builder, f"llvm.fma.v{LANES}f32", kind, [value, fraction, coefficient])
        exponent = builder.shl(builder.bitcast(shifted, integers), _constant(integers, 23))
        return builder.bitcast(builder.add(builder.bitcast(value, integers), exponent), kind)

    return signature(power, power, constants), codegen


@intrinsic
def log2(typingctx: Any, value: Any) -> Any:
    """log2 of positive normal numbers, to 2e-7 absolute."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, kind = args[0], args[0].type
        if value.element == types.float64:
            return _call(builder, f"llvm.log2.v{LANES}f64", kind, [x])
        integers = ir.VectorType(_I32, LANES)
        bits = builder.sub(builder.bitcast(x, integers), _constant(integers, 0x3F3504F3))  # sqrt(1/2)
        exponent = builder.ashr(bits, _constant(integers, 23))
        mantissa = builder.bitcast(
            builder.sub(builder.bitcast(x, integers), builder.shl(exponent, _constant(integers, 23))), kind
        )  # sqrt(1/2) .. sqrt(2)
        one = _constant(kind, 1.0)
        s = builder.fdiv(builder.fsub(mantissa, one), builder.fadd(mantissa, one))
        square = builder.fmul(s, s)
        series = _constant(kind, 2 / 9 / np.log(2))
        for odd in (7, 5, 3, 1):  # log2(m) = 2/ln 2 (s + s^3/3 + s^5/5 + ...)
            term = _constant(kind, 2 / odd / np.log(2))
            series = _call(builder, f"llvm.fma.v{LANES}f32", kind, [series, square, term])
        return builder.fadd(builder.sitofp(exponent, kind), builder.fmul(series, s))

    return signature(value, value), codegen
