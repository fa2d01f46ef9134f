"""The rooms of the library: who imports whom, read from the imports; and one of each thing that can be added."""

import ast
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from lorabook import lora
from lorabook.data import load, sources
from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, LoRALinear, apply_lora
from lorabook.merging import merge, remove, unmerge
from lorabook.peft_format import save
from tests.kit.imports import imported

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "lorabook"
# From the ground up: a room, or a file on its own, imports those above it in this list. What is in the same tuple may
# not import one another.
ORDER = (
    ("errors", "interrupts", "reader_copy", "sizes", "threads"),
    ("lora_config",),
    ("lora", "console", "atomic"),
    ("kernels", "merging", "subspace"),
    ("data",),
    ("models",),
    ("peft_format", "quantized"),
    ("adapters", "step"),
    ("memory",),
    ("training",),
    ("diagnosis",),
    ("cli",),
    ("workbook", "__main__"),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
ONLINE = {"huggingface_hub", "datasets", "httpx", "requests", "urllib"}


def room(name: str) -> str:
    """The room, or the file on its own, that `lorabook.x.y` is in; "" for a name in lorabook/__init__.py."""
    part = name.split(".")[1] if "." in name else ""
    return part if part in LEVEL else ""


def back_edges(path: Path, source: str) -> list[str]:
    """The imports of a file of the library that run against the order."""
    inside = path.relative_to(LIBRARY)
    mine = inside.parts[0].removesuffix(".py")
    names = [name for name in imported(source, ("lorabook", *inside.parent.parts)) if name.split(".")[0] == "lorabook"]
    return sorted(name for name in names if room(name) != mine and LEVEL.get(room(name), 0) >= LEVEL[mine])


FILES = sorted(p for p in LIBRARY.rglob("*.py") if p != LIBRARY / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_a_file_imports_only_from_rooms_below_its_own(path):
    source = path.read_text(encoding="utf-8")
    assert back_edges(path, source) == []
    names, inside = imported(source), path.relative_to(LIBRARY)
    assert len(inside.parts) <= 3, "rooms have two levels; those of the workbook hold one room a subject"
    tops = {name.split(".")[0] for name in names}
    assert not tops & {"peft", "loralib"}, "oracles belong to the tests"
    if inside.parts[0] != "workbook":
        assert not tops & {"ipywidgets", "matplotlib", "IPython"}
    private = {name for name in names if re.search(r"^lorabook\..*\._[a-z]", name)}
    assert not private, "a private name is used in its own file"


def test_a_planted_back_edge_is_seen():
    for place, source, seen in (
        ("lora.py", "from lorabook.merging import merge", ["lorabook.merging.merge"]),
        (
            "data/html.py",
            "def f():\n    from lorabook.training.loop import finetune",
            ["lorabook.training.loop.finetune"],
        ),
        ("memory/plan.py", "from ..workbook.kit import figures", ["lorabook.workbook.kit.figures"]),
        ("memory/plan.py", "from lorabook.errors import SettingError\nfrom lorabook.memory import gpus", []),
        ("adapters.py", "import lorabook.step.loss", ["lorabook.step.loss"]),
    ):
        assert back_edges(LIBRARY / place, source) == seen


def test_the_heart_needs_two_files_beside_it():
    for file, needed in (("lora_config.py", {"errors"}), ("lora.py", {"errors", "lora_config"})):
        names = [name.split(".") for name in imported((LIBRARY / file).read_text())]
        assert {name[1] for name in names if name[0] == "lorabook"} == needed
    lines = (LIBRARY / "lora.py").read_text().splitlines()
    assert next(i for i, line in enumerate(lines) if "def forward" in line) < 60


def test_two_files_open_connections():
    tops = {p: {name.split(".")[0] for name in imported(p.read_text())} for p in FILES}
    online = {str(p.relative_to(LIBRARY)) for p, names in tops.items() if names & ONLINE}
    # load.py looks into the hub's cache and hands `hub.patiently` what to fetch, gguf.py asks where the cache is, and
    # setup.py switches progress bars off
    silent = {"models/load.py", "models/gguf.py", "workbook/kit/setup.py"}
    assert online - silent == {"models/hub.py", "data/sources.py"}


def test_the_first_sentence_of_a_file_names_one_idea():
    """ "and" joins two; in a list of examples after a colon it may stand."""
    for path in FILES:
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if path.name != "__init__.py" or said:
            assert said, path
            first = re.split(r"[.:](?:\s|$)", said, maxsplit=1)[0]
            assert not re.search(r"\band\b", first), f"{path.relative_to(LIBRARY)}: {first}"


# One of each, as CONTRIBUTING.md says to add it


def test_a_new_variant_of_the_layer_is_contributing_s_dora(monkeypatch, tmp_path):
    (code,) = re.findall(
        r"```python\n(class DoRALinear.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL
    )
    assert len(code.splitlines()) < 30
    names = {"LoRALinear": LoRALinear, "nn": nn, "lora": lora}
    exec(code, names)
    monkeypatch.setattr(lora, "layer_class", lambda base, config: names["DoRALinear"])
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 5)), torch.randn(3, 6)
    before = model(x)
    report = apply_lora(model, LoRAConfig(r=2, alpha=3))
    assert report.trainable == 2 * (6 + 5) + 5
    torch.testing.assert_close(model(x), before)
    nn.init.normal_(model[0].B)
    with torch.no_grad():
        model[0].m.mul_(1.5)
    unmerged = model(x)
    W = model[0].base_layer.weight + model[0].scaling * model[0].B @ model[0].A
    expected = x @ (model[0].m[:, None] * W / W.norm(dim=1, keepdim=True)).T + model[0].bias
    torch.testing.assert_close(unmerged, expected)
    with pytest.raises(SettingError, match="0 is a DoRALinear with m, and an adapter file holds A and B alone"):
        save(model, tmp_path)
    merge(model)
    torch.testing.assert_close(model(x), unmerged)
    unmerge(model)
    remove(model)
    torch.testing.assert_close(model(x), before)


def test_a_new_kind_of_file_is_a_line_in_readers(monkeypatch, tmp_path):
    def tsv(path: Path):
        head, *rows = [line.split("\t") for line in path.read_text().splitlines()]
        yield from (dict(zip(head, row)) for row in rows)

    monkeypatch.setitem(sources.READERS, ".tsv", tsv)
    (tmp_path / "mine.tsv").write_text("question_id\tquestion_body\tanswer_body\n7\t<p>Why?</p>\t<p>Because.</p>\n")
    (pair,) = load(tmp_path / "mine.tsv").pairs
    assert (pair.question_id, pair.question, pair.answer) == (7, "Why?", "Because.")
