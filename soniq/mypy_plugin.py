"""Makes mypy check what is enqueued. Add ``"soniq.mypy_plugin"`` to ``plugins`` in mypy's settings.

A worker gives a job its :class:`~soniq.JobContext`, so ``enqueue`` must not ask for one, and Python's types
cannot say "these parameters but for those of that class". With this plugin a job that takes a context is a
:class:`~soniq.task.ContextTask`: called with the context, enqueued without. It also holds what is written
out in ``enqueue_many([{...}])``, ``app.enqueue(job, ...)`` and ``app.scheduler.add(job, args={...})`` to the
job's parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TypeAlias

from mypy.nodes import (
    ARG_NAMED,
    ARG_NAMED_OPT,
    ARG_STAR,
    ARG_STAR2,
    ArgKind,
    DictExpr,
    Expression,
    GeneratorExpr,
    ListComprehension,
    ListExpr,
    StrExpr,
    SymbolNode,
    TupleExpr,
    TypeInfo,
)
from mypy.plugin import FunctionContext, MethodContext, MethodSigContext, Plugin
from mypy.types import (
    CallableType,
    Instance,
    Parameters,
    Type,
    TypedDictType,
    UnionType,
    get_proper_type,
)

Hook: TypeAlias = Callable[[FunctionContext | MethodContext], Type]
MethodHook: TypeAlias = Callable[[MethodContext], Type]
SignatureHook: TypeAlias = Callable[[MethodSigContext], CallableType]
Fields: TypeAlias = list[tuple[Type, ArgKind, str | None]]

TASK = "soniq.task.Task"
CONTEXT = "soniq.jobs.JobContext"


class SoniqPlugin(Plugin):
    """See the module."""

    def get_function_hook(self, fullname: str) -> Hook | None:
        """``@soniq.job``."""
        return made_job if fullname == "soniq.job" else None

    def get_method_hook(self, fullname: str) -> MethodHook | None:
        """``@app.job``, and what ``@soniq.job(...)`` returned."""
        return made_job if self._declared(fullname, MAKERS) else None

    def get_method_signature_hook(self, fullname: str) -> SignatureHook | None:
        """``job.enqueue_many``, and the methods of the app that enqueue."""
        declared = self._declared(fullname, SIGNATURES)
        return SIGNATURES[declared] if declared else None

    def _declared(self, fullname: str, known: Container[str]) -> str | None:
        """The name under which this method is ``known``: mypy names it by the class it is called on."""
        owner, _, method = fullname.rpartition(".")
        if method not in METHODS:
            return None
        symbol = self.lookup_fully_qualified(owner)
        if symbol is None or not isinstance(symbol.node, TypeInfo):
            return None
        names = (f"{base.fullname}.{method}" for base in symbol.node.mro)
        return next((name for name in names if name in known), None)


def plugin(_version: str) -> type[SoniqPlugin]:
    """What mypy calls."""
    return SoniqPlugin


def made_job(ctx: FunctionContext | MethodContext) -> Type:
    """The job that a decorator makes: if its function takes a context, a ContextTask."""
    task = get_proper_type(ctx.default_return_type)
    if not isinstance(task, Instance) or task.type.fullname != TASK:
        return ctx.default_return_type
    called = get_proper_type(task.args[0])
    if not isinstance(called, Parameters):
        return ctx.default_return_type
    fields: Fields = list(zip(called.arg_types, called.arg_kinds, called.arg_names, strict=True))
    own = [field for field in fields if not _is_context(field[0])]
    node = _context_task(task.type, ctx)
    if len(own) == len(fields) or node is None:
        return ctx.default_return_type
    enqueued = called.copy_modified(
        arg_types=[field[0] for field in own],
        arg_kinds=[field[1] for field in own],
        arg_names=[field[2] for field in own],
    )
    return Instance(node, [called, enqueued, task.args[1]], line=task.line, column=task.column)


def many(ctx: MethodSigContext) -> CallableType:
    """``job.enqueue_many(args_list)``."""
    return _with_typed_list(ctx, _parameters(ctx.type))


def many_of(ctx: MethodSigContext) -> CallableType:
    """``app.enqueue_many(job, args_list)``."""
    return _with_typed_list(ctx, _target(ctx))


def one_of(ctx: MethodSigContext) -> CallableType:
    """``app.enqueue(job, **kwargs)``: in place of any keyword, those of the job."""
    signature, parameters = ctx.default_signature, _target(ctx)
    if parameters is None or ARG_STAR2 not in signature.arg_kinds:
        return signature
    fields: Fields = [
        field
        for field in zip(signature.arg_types, signature.arg_kinds, signature.arg_names, strict=True)
        if field[1] is not ARG_STAR2
    ]
    taken = {name for _, _, name in fields}
    in_args = bool(ctx.args[signature.arg_names.index("args")])  # some may be given in args={...}
    for kind, name, given in zip(
        parameters.arg_kinds, parameters.arg_names, parameters.arg_types, strict=True
    ):
        if kind is ARG_STAR2:
            fields.append((given, ARG_STAR2, name))
        elif kind is ARG_STAR or name is None:
            return signature
        elif name not in taken:
            optional = in_args or kind.is_optional()
            fields.append((given, ARG_NAMED_OPT if optional else ARG_NAMED, name))
    return signature.copy_modified(
        arg_types=[field[0] for field in fields],
        arg_kinds=[field[1] for field in fields],
        arg_names=[field[2] for field in fields],
    )


def scheduled(ctx: MethodSigContext) -> CallableType:
    """``app.scheduler.add(job, args={...})``: the arguments of the job, where they are written out."""
    signature, parameters = ctx.default_signature, _target(ctx)
    place = signature.arg_names.index("args")
    if parameters is None or not ctx.args[place] or not _is_display(ctx.args[place][0]):
        return signature
    arguments = _typed_dict(ctx, parameters)
    if arguments is None:
        return signature
    arg_types = list(signature.arg_types)
    arg_types[place] = arguments
    return signature.copy_modified(arg_types=arg_types)


SIGNATURES: dict[str, SignatureHook] = {
    "soniq.task.Task.enqueue_many": many,
    "soniq.task.Task.aenqueue_many": many,
    "soniq.app.Soniq.enqueue": one_of,
    "soniq.app.Soniq.schedule": one_of,
    "soniq.app.Soniq.enqueue_many": many_of,
    "soniq.scheduler.SchedulerService.add": scheduled,
    "soniq.scheduler.SchedulerService.add_now": scheduled,
}

MAKERS = frozenset(
    {
        "soniq.app.Soniq.job",
        "soniq.registry.JobDecorator.__call__",
        "soniq.registry.PeriodicDecorator.__call__",
        "soniq.registry.Registry.job",
    }
)
METHODS = frozenset(name.rpartition(".")[2] for name in (*SIGNATURES, *MAKERS))


def _is_context(given: Type) -> bool:
    """Whether this is ``JobContext`` or ``JobContext | None``."""
    proper = get_proper_type(given)
    if isinstance(proper, UnionType):
        return any(_is_context(item) for item in proper.items)
    return isinstance(proper, Instance) and proper.type.fullname == CONTEXT


def _context_task(task: TypeInfo, ctx: FunctionContext | MethodContext) -> TypeInfo | None:
    modules = getattr(
        ctx.api, "modules", {}
    )  # mypy's checker has it; its interface for plugins does not say so
    symbol = modules[task.module_name].names.get("ContextTask") if task.module_name in modules else None
    node: SymbolNode | None = symbol.node if symbol is not None else None
    return node if isinstance(node, TypeInfo) else None


def _parameters(given: Type) -> Parameters | None:
    """What a job is enqueued with, if that is known."""
    # mypy's modules import each other in a circle, which this one must not be the first to enter.
    from mypy.maptype import map_instance_to_supertype  # noqa: PLC0415

    proper = get_proper_type(given)
    if not isinstance(proper, Instance):
        return None
    task = next((base for base in proper.type.mro if base.fullname == TASK), None)
    if task is None:
        return None
    parameters = get_proper_type(map_instance_to_supertype(proper, task).args[0])
    if not isinstance(parameters, Parameters) or parameters.is_ellipsis_args:
        return None
    return parameters


def _target(ctx: MethodSigContext) -> Parameters | None:
    """The parameters of the job that is the call's first argument."""
    return _parameters(ctx.api.get_expression_type(ctx.args[0][0])) if ctx.args and ctx.args[0] else None


def _with_typed_list(ctx: MethodSigContext, parameters: Parameters | None) -> CallableType:
    """The signature with a list of the job's keyword arguments, where the call writes them out.

    What comes in variables stays any mapping: the type of a dict says nothing about its single keys.
    """
    signature = ctx.default_signature
    place = signature.arg_names.index("args_list")
    if parameters is None or not ctx.args[place] or not _written_out(ctx.args[place][0]):
        return signature
    arguments = _typed_dict(ctx, parameters)
    if arguments is None:
        return signature
    arg_types = list(signature.arg_types)
    arg_types[place] = ctx.api.named_generic_type("typing.Iterable", [arguments])
    return signature.copy_modified(arg_types=arg_types)


def _typed_dict(ctx: MethodSigContext, parameters: Parameters) -> TypedDictType | None:
    items: dict[str, Type] = {}
    required: set[str] = set()
    for kind, name, given in zip(
        parameters.arg_kinds, parameters.arg_names, parameters.arg_types, strict=True
    ):
        if name is None or kind in (ARG_STAR, ARG_STAR2):
            return None
        items[name] = given
        if kind.is_required():
            required.add(name)
    fallback = ctx.api.named_generic_type("typing._TypedDict", [])
    return TypedDictType(items, required, set(), fallback)


def _written_out(expression: Expression) -> bool:
    """Whether this is a list of dict displays, or a comprehension that makes them."""
    if isinstance(expression, ListComprehension):
        expression = expression.generator
    if isinstance(expression, GeneratorExpr):
        return _is_display(expression.left_expr)
    return isinstance(expression, ListExpr | TupleExpr) and all(map(_is_display, expression.items))


def _is_display(expression: Expression) -> bool:
    return isinstance(expression, DictExpr) and all(isinstance(key, StrExpr) for key, _ in expression.items)
