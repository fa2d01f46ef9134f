"""What the tests of the workbook keep of a reader's work goes to a folder of its own."""

import pytest


@pytest.fixture(autouse=True)
def _kept_elsewhere(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LORABOOK_OUTPUT", str(tmp_path_factory.mktemp("runs") / "final"))
