# pyright: basic, reportPrivateImportUsage=false
"""Many arrays behind one address: what kernels take instead of thirty arguments.

A kernel that passed thirty arrays to each helper would spend a microsecond a call moving their
descriptors. A `TableType` value is the address of a table of (pointer, length) pairs; `table.name`
inside a kernel loads one pair. With Numba off, kernels are handed a NamedTuple with the same names.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, models, register_model
from numba.np.arrayobj import make_array, populate_array

from cerebrum.engine.compiled import JIT


class TableType(types.Type):
    """The type of a table with these fields, as kernels see it."""

    def __init__(self, name: str, fields: tuple[tuple[str, types.Type], ...]) -> None:
        self.fields = fields
        super().__init__(name=f"Table({name})")


@register_model(TableType)
class _TableModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, ir.IntType(64))


@infer_getattr
class _TableAttribute(AttributeTemplate):
    key = TableType

    def generic_resolve(self, typ: TableType, attr: str) -> types.Type | None:
        for name, dtype in typ.fields:
            if name == attr:
                return types.Array(dtype, 1, "C", aligned=True)
        return None


@lower_getattr_generic(TableType)
def _load_field(context: Any, builder: Any, typ: TableType, value: Any, attr: str) -> Any:
    index = [name for name, _ in typ.fields].index(attr)
    array_type = types.Array(typ.fields[index][1], 1, "C", aligned=True)
    word = ir.IntType(64)
    base = builder.inttoptr(value, word.as_pointer())
    data = builder.load(cgutils.gep_inbounds(builder, base, 2 * index))
    length = builder.load(cgutils.gep_inbounds(builder, base, 2 * index + 1))
    itemsize = context.get_constant(
        types.intp, context.get_abi_sizeof(context.get_data_type(array_type.dtype))
    )
    array = make_array(array_type)(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(data, array.data.type),
        shape=cgutils.pack_array(builder, [length]),
        strides=cgutils.pack_array(builder, [itemsize]),
        itemsize=itemsize,
        meminfo=None,
    )
    return array._getvalue()


def table_type(name: str, dtypes: dict[str, Any]) -> TableType:
    """The kernel type for arrays of these names and dtypes, in this order."""
    fields = tuple((field, numba.from_dtype(np.dtype(dtype))) for field, dtype in dtypes.items())
    return TableType(name, fields)


def opener(kind: TableType) -> Any:
    """A kernel that turns an address into the table behind it."""
    if not JIT:
        return lambda table: table

    @intrinsic
    def open_table(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return args[0]

        return kind(types.int64), codegen

    return open_table
