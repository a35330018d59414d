# pyright: basic, reportPrivateImportUsage=false
"""What an environment shows of a node: a schema, and a kernel that fills one row of numbers.

The schema and the kernel are those of serving (`cerebrum.policies.learned`): what is learnt here is
asked for with the same numbers there. Another encoder is another `Encoder`, given to `Clusters`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cerebrum.engine.compiled import JIT, NODE_REC, TASK_REC
from cerebrum.engine.compiled import kernel as compiled_kernel
from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.policies.learned.schema import Schema

_ROW = types.Array(types.float32, 1, "C")
_FILL = types.void(NODE_REC, NODE_REC, TASK_REC, types.Array(TASK_REC, 1, "C"), _ROW)


@intrinsic
def _call(
    typingctx: Any, address: Any, before: Any, after: Any, task: Any, typical: Any, out: Any
) -> Any:
    signature = types.void(types.int64, *_FILL.args)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        inner = [context.get_value_type(kind) for kind in signature.args[1:]]
        function = ir.FunctionType(context.get_value_type(types.void), inner)
        builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])
        return context.get_dummy_value()

    return signature, codegen


_interpreted: list[Callable[..., None]] = []  # kernels when Numba is switched off

if JIT:

    @compiled_kernel
    def encode(address, before, after, task, typical, out):  # pyright: ignore
        """Fill `out` by the address of a compiled encoder."""
        _call(address, before, after, task, typical, out)  # pyright: ignore

else:

    def encode(address, before, after, task, typical, out):
        """Fill `out` by index into the list of Python encoders."""
        _interpreted[address](before, after, task, typical, out)


class Encoder:
    """A schema and the kernel `fill(before, after, task, typical, out)` that computes it.

    `before` and `after` are `NODE` records without and with the task placed, `task` and `typical`
    as for a scorer; `out` is float32[len(schema)], which the kernel fills from end to end.
    """

    def __init__(self, schema: Schema, fill: Callable[..., None]) -> None:
        self.schema = schema
        self._fill = getattr(fill, "py_func", fill)

    def __len__(self) -> int:
        return len(self.schema)

    @cached_property
    def address(self) -> int:
        """Where kernels find it; compiles (or loads from the cache) on first access."""
        if not JIT:
            _interpreted.append(self._fill)
            return len(_interpreted) - 1
        self._fill.__cerebrum__ = True  # a user's kernel is cached under its content as ours are
        try:
            self._compiled: Any = numba.cfunc(_FILL, cache=True)(self._fill)
        except numba.errors.NumbaError as problem:
            reason = " ".join(str(problem).split())[:400]
            raise ConfigError(f"cannot be compiled by Numba: {reason}").at(
                field=f"encoder {self.schema.name}"
            ) from problem
        return int(self._compiled.address)


def get_encoder(name: str) -> Encoder:
    """A shipped encoder by name; `UnknownName` with the nearest one otherwise."""
    if name not in _ENCODERS:
        raise UnknownName("encoder", name, _ENCODERS)
    return _ENCODERS[name]()


def _bid() -> Encoder:
    from cerebrum.policies.learned.bid_features import bid_features
    from cerebrum.policies.learned.bid_schema import SCHEMA

    return Encoder(SCHEMA, bid_features)


_ENCODERS: dict[str, Callable[[], Encoder]] = {"bid": _bid}
