"""pytest's hooks for all tests: cells of notebooks run with their checks, long files come first, garbage is rare."""

import gc

from nbval.plugin import IPyNbCell

from tests.notebooks.checks import checked

# Modules and tests are very many objects. To look through them for garbage as often as Python does by default takes an
# eighth of the tests' time.
gc.set_threshold(200_000, 20, 100)


def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, IPyNbCell):
            item.cell.source = checked(item.path.stem, item.cell.get("id", ""), item.cell.source)
    # Long files first, so that at the end neither of two processes waits for the other.
    long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("browser")}
    items.sort(key=lambda item: (not isinstance(item, IPyNbCell), item.path not in long))


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
