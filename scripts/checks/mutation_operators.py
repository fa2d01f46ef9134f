"""Mutants of a Python source: every one differs from it in one small way, at one place.

The operators: a comparison or an arithmetic or boolean operator becomes its neighbour, a number moves by one, True and
False change places, a condition is negated, a `not` or a minus goes, a statement goes, a result becomes None, two
arguments change places, a keyword argument, an end of a slice, a decorator or a context manager goes, `break` becomes
`continue` and the other way round.

Left alone: docstrings, type hints, the texts of errors and warnings, f-strings, `__repr__` and `extra_repr`.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

COMPARISONS: dict[type, tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
ARITHMETIC: dict[type, tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
NEGATED_ALREADY = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)  # the neighbour is the negation
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SILENT = ("__repr__", "extra_repr")


@dataclass(frozen=True)
class Mutant:
    """`source` with one change at `line`; `old` and `new` are the lines it touches.

    `where` is the function or class it is in, `first` the first line of that function: 0 outside of any.
    """

    where: str
    first: int
    line: int
    operator: str
    old: str
    new: str
    source: str


class _Places:
    """The source as bytes, which is what the columns of its tree count."""

    def __init__(self, source: str):
        self.data = source.encode()
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line.encode()))

    def start(self, node) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def end(self, node) -> int:
        return self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, start: int, end: int) -> str:
        return self.data[start:end].decode()

    def of(self, node) -> str:
        return self.text(self.start(node), self.end(node))

    def between(self, left, right, old: str, new: str) -> "Edit":
        """`old`, which stands between two nodes, becomes `new`."""
        start = self.data.index(old.encode(), self.end(left), self.start(right))
        return start, start + len(old.encode()), new

    def whole(self, node, new: str) -> "Edit":
        return self.start(node), self.end(node), new


Edit = tuple[int, int, str]  # from, to, what stands there instead


def mutants(source: str) -> list[Mutant]:
    """Every mutant of `source` that compiles and differs from the others."""
    places, tree = _Places(source), ast.parse(source)
    found: dict[str, Mutant] = {}
    for scope, operator, (start, end, new) in _edits(tree, _Scope(), places):
        changed = places.text(0, start) + new + places.text(end, len(places.data))
        try:
            compile(changed, "mutant", "exec")
        except SyntaxError:
            continue
        first, last = places.data.rfind(b"\n", 0, start) + 1, (places.data + b"\n").find(b"\n", end)
        old = places.text(first, last)
        becomes = places.text(first, start) + new + places.text(end, last)
        line = places.data.count(b"\n", 0, start) + 1
        old, becomes = " ".join(old.split()), " ".join(becomes.split())
        mutant = Mutant(scope.name, scope.first, line, operator, old, becomes, changed)
        found.setdefault(changed, mutant)
    return list(found.values())


@dataclass(frozen=True)
class _Scope:
    """The function or class that a node is in; `bound` counts how often the function binds each name."""

    name: str = ""
    first: int = 0
    bound: Mapping[str, int] = field(default_factory=dict)

    def inner(self, node: ast.AST) -> "_Scope":
        name = f"{self.name}.{node.name}".lstrip(".")
        if isinstance(node, ast.ClassDef):
            return _Scope(name)
        stored = (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        bound = Counter([*stored, *(a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg))])
        return _Scope(name, min([node.lineno, *(d.lineno for d in node.decorator_list)]), bound)


def _edits(node: ast.AST, scope: _Scope, places: _Places) -> Iterator[tuple[_Scope, str, Edit]]:
    """Every change under `node`."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        if node.name in SILENT:
            return
        scope = scope.inner(node)
        for decorator in node.decorator_list:
            at = places.data.rindex(b"@", 0, places.start(decorator))
            yield scope, "decorator dropped", (at, places.end(decorator), "")
    for operator, edit in _of(node, places, scope.bound):
        yield scope, operator, edit
    for child in _children(node):
        yield from _edits(child, scope, places)


def _children(node: ast.AST) -> list[ast.AST]:
    """What is under `node` and may change: no hints, no decorators, no texts of errors, no docstrings."""
    if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return []
    if isinstance(node, FUNCTIONS):
        return [*node.args.defaults, *(d for d in node.args.kw_defaults if d), *node.body]
    if isinstance(node, ast.ClassDef):
        return list(node.body)
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value else []
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
        return []
    return list(ast.iter_child_nodes(node))


def _of(node: ast.AST, places: _Places, bound: Mapping[str, int]) -> Iterator[tuple[str, Edit]]:
    """The changes of this very node."""
    match node:
        case ast.Compare():
            operands = [node.left, *node.comparators]
            for op, left, right in zip(node.ops, operands, operands[1:]):
                yield "comparison", places.between(left, right, *COMPARISONS[type(op)])
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            yield "arithmetic", places.between(node.left, node.right, *ARITHMETIC[type(node.op)])
        case ast.BinOp():
            left, right = places.of(node.left), places.of(node.right)
            yield "factors swapped", places.whole(node, f"({right}) @ ({left})")
        case ast.AugAssign() if type(node.op) in ARITHMETIC:
            old, new = ARITHMETIC[type(node.op)]
            yield "arithmetic", places.between(node.target, node.value, f"{old}=", f"{new}=")
        case ast.BoolOp():
            old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in zip(node.values, node.values[1:]):
                yield "boolean", places.between(left, right, old, new)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield "sign or `not` dropped", places.whole(node, f"({places.of(node.operand)})")
        case ast.Constant(value=bool() as value):
            yield "True or False", places.whole(node, str(not value))
        case ast.Constant(value=int() | float() as value):
            for other in (value + 1, value - 1):
                yield "number", places.whole(node, repr(other))
        case ast.Slice():
            for bound in (node.lower, node.upper):
                if bound:
                    yield "end of slice dropped", places.whole(bound, "")
        case ast.Call():
            yield from _call(node, places)
        case ast.withitem() if node.optional_vars is None:
            empty = '__import__("contextlib").nullcontext()'
            yield "context manager dropped", places.whole(node.context_expr, empty)
        case ast.If() | ast.While() | ast.IfExp() | ast.Assert():
            yield from _negated(node.test, places)
        case ast.comprehension():
            for test in node.ifs:
                yield from _negated(test, places)
    if isinstance(node, ast.stmt):
        yield from _statement(node, places, bound)


def _negated(test: ast.expr, places: _Places) -> Iterator[tuple[str, Edit]]:
    by_neighbour = isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], NEGATED_ALREADY)
    if not by_neighbour and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
        yield "condition negated", places.whole(test, f"not ({places.of(test)})")


def _call(node: ast.Call, places: _Places) -> Iterator[tuple[str, Edit]]:
    order_matters = not (isinstance(node.func, ast.Name) and node.func.id in ("min", "max"))
    for left, right in zip(node.args, node.args[1:]):
        if order_matters and not isinstance(left, ast.Starred) and not isinstance(right, ast.Starred):
            gap = places.text(places.end(left), places.start(right))
            swapped = f"{places.of(right)}{gap}{places.of(left)}"
            yield "arguments swapped", (places.start(left), places.end(right), swapped)
    given = sorted([*node.args, *node.keywords], key=places.start)
    for i, argument in enumerate(given):
        if isinstance(argument, ast.keyword) and argument.arg:
            start = places.end(given[i - 1]) if i else places.start(argument)
            end = places.start(given[1]) if not i and len(given) > 1 else places.end(argument)
            yield "keyword argument dropped", (start, end, "")


def _statement(node: ast.stmt, places: _Places, bound: Mapping[str, int]) -> Iterator[tuple[str, Edit]]:
    match node:
        case ast.Break():
            yield "break and continue", places.whole(node, "continue")
        case ast.Continue():
            yield "break and continue", places.whole(node, "break")
        case ast.Return() if node.value is not None:
            yield "result dropped", places.whole(node, "return None")
        case ast.Expr() if not isinstance(node.value, ast.Constant):
            yield "statement dropped", places.whole(node, "pass")
        case ast.Raise() | ast.AugAssign() | ast.Delete():
            yield "statement dropped", places.whole(node, "pass")
        case ast.Assign():
            targets = [n for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            if not any(
                isinstance(n.ctx, ast.Store) and bound.get(n.id, 0) < 2 for n in targets
            ):  # else every use of it fails
                yield "statement dropped", places.whole(node, "pass")
