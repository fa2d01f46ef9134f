"""pytest's hooks for all tests: cells of notebooks run with their checks."""

from nbval.plugin import IPyNbCell

from tests.notebooks.checks import checked


def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, IPyNbCell):
            item.cell.source = checked(item.path.stem, item.cell.get("id", ""), item.cell.source)
