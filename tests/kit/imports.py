"""The names that a Python source imports."""

import ast


def imported(source: str, package: tuple[str, ...] = ("lorabook",)) -> set[str]:
    """Every name that `source` imports, whole: `from .errors import X` in `package` is `lorabook.errors.X`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            found |= {".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names}
    return found
