"""Colab's package versions (tests/notebooks/colab.txt): installing lorabook among them changes none of them.

`make colab` runs the notebooks there; this holds what can be known without an environment of its own.
"""

import re
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lorabook.models.hub import find_token
from scripts.checks.colab import listed
from tests.kit.colab_stub import google
from tests.kit.colab_stub.google.colab import drive, userdata
from tests.kit.notebooks import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COLAB = listed()
NEEDED = [Requirement(r) for r in PROJECT["dependencies"]]


def test_the_list_is_whole_and_read_as_pip_reads_it():
    lines = [line for line in (ROOT / "tests/notebooks/colab.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+]+", line) for line in lines)
    assert len(lines) == len(COLAB) > 100
    known = {"transformers": "5.15.0", "datasets": "4.0.0", "torch": "2.11.0", "ipywidgets": "7.7.1", "numpy": "2.1.3"}
    assert COLAB.items() >= known.items()


@pytest.mark.parametrize("requirement", NEEDED, ids=lambda requirement: requirement.name)
def test_colab_has_what_we_need_at_or_above_our_bound(requirement):
    name = canonicalize_name(requirement.name)
    assert name in COLAB, "pip would install it: name it in the list or do without"
    assert requirement.specifier.contains(COLAB[name]), f"pip would replace {name} {COLAB[name]}"


def test_colab_has_the_python_we_need():
    (specifier,) = [Requirement(f"python{PROJECT['requires-python']}").specifier]
    assert specifier.contains("3.13.15") and "Python 3.13.15" in (ROOT / "tests/notebooks/colab.txt").read_text()


def test_vault_and_drive_of_the_stub_behave_as_make_colab_expects(monkeypatch, tmp_path):
    for name, module in {"google": google, "google.colab": google.colab}.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    said = []
    for userdata.behaviour in ("answers", "refuses", "absent", "times out"):
        said.append(find_token())
    assert said == [userdata.TOKEN, None, None, None]
    drive.mount(str(tmp_path / "drive"))
    (tmp_path / "drive/MyDrive/adapter").write_text("kept")
    drive.flush_and_unmount()
    assert not (tmp_path / "drive").exists()
    drive.mount(str(tmp_path / "drive"))
    assert (tmp_path / "drive/MyDrive/adapter").read_text() == "kept"
