"""The badges: one place on GitHub, named in pyproject.toml, and every link leads to a file that is there."""

import json
import re
import shutil
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from scripts.notebooks import badges
from tests.kit.notebooks import NOTEBOOKS, ROOT

NAMES = [path.name for path in NOTEBOOKS]
BADGE = re.compile(r"\[!\[([^\]]+)\]\((\S+?)\)\]\((\S+?)\)")


def slug(root: Path = ROOT) -> str:
    home = tomllib.loads((root / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]
    return home.removeprefix("https://github.com/")


def target(link: str) -> tuple[str, str]:
    """(owner/name, path in the repository) that a badge's link opens, read by each host's own rules."""
    parts = urlsplit(link)
    if parts.netloc == "mybinder.org":
        _, v2, gh, owner, name, ref = parts.path.split("/")
        assert (v2, gh, ref) == ("v2", "gh", "HEAD")
        return f"{owner}/{name}", parse_qs(parts.query)["labpath"][0]
    if parts.netloc == "kaggle.com":
        assert parts.path == "/kernels/welcome"
        source = urlsplit(parse_qs(parts.query)["src"][0])
        assert source.netloc == "github.com"
        path = source.path
    else:
        assert parts.netloc == "colab.research.google.com"
        path = parts.path.removeprefix("/github")
    _, owner, name, blob, ref, *rest = path.split("/")
    assert (blob, ref) == ("blob", "main")
    return f"{owner}/{name}", "/".join(rest)


def check(text: str, notebook: str, root: Path = ROOT) -> None:
    """Badges for the three hosts, in this order, each to this very notebook."""
    found = BADGE.findall(text)
    assert [name for name, _, _ in found] == ["Open In Colab", "Open in Kaggle", "Open in Binder"]
    for _, _, link in found:
        assert target(link) == (slug(root), f"notebooks/{notebook}")
        assert (root / "notebooks" / notebook).is_file()


def rows(root: Path = ROOT) -> dict[str, str]:
    lines = (root / "README.md").read_text(encoding="utf-8").splitlines()
    found = [(re.match(r"\| \[[^\]]+\]\(notebooks/(\w+\.ipynb)\)", line), line) for line in lines]
    return {match[1]: line.split(" | ")[0] for match, line in found if match}


def cells(notebook: str, root: Path = ROOT) -> list[str]:
    content = json.loads((root / "notebooks" / notebook).read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"]]


@pytest.mark.parametrize("notebook", NAMES)
def test_a_notebook_has_its_badges_and_installs_from_the_same_place(notebook):
    title, install = cells(notebook)[:2]
    check(title, notebook)
    assert re.findall(r"git\+https://github\.com/([^\"\s]+)\"", install) == [slug()]


def test_every_notebook_is_in_the_readme_with_its_badges():
    assert sorted(rows()) == NAMES
    for notebook, row in rows().items():
        check(row, notebook)


def test_binder_finds_an_environment_and_no_other_configuration():
    assert (ROOT / "environment.yml").is_file()
    assert [name for name in ("binder", ".binder", "Dockerfile") if (ROOT / name).exists()] == []


@pytest.fixture
def copy(tmp_path) -> Path:
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "notebooks").mkdir()
    for name in NAMES[:2]:
        shutil.copy(ROOT / "notebooks" / name, tmp_path / "notebooks")
    return tmp_path


def state(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_is_committed_is_what_the_script_writes(copy):
    before = state(copy)
    badges.main(copy, [])
    assert state(copy) == before


def test_a_new_place_is_written_everywhere_and_the_way_back_too(copy):
    before, old = state(copy), slug()
    badges.main(copy, ["some-one/lora.book"])
    after = state(copy)
    assert {path for path in before if old.encode() in after[path]} == set()
    assert slug(copy) == "some-one/lora.book"
    for notebook in NAMES[:2]:
        check(cells(notebook, copy)[0], notebook, copy)
        check(rows(copy)[notebook], notebook, copy)
        assert 'git+https://github.com/some-one/lora.book"' in cells(notebook, copy)[1]
    badges.main(copy, ["some-one/lora.book"])
    assert state(copy) == after, "twice is once"
    badges.main(copy, [old])
    assert state(copy) == before


@pytest.mark.parametrize("wrong", ["", "lorabook", "https://github.com/a/b", "a/b/c", "a b/c"])
def test_what_is_no_place_is_refused_before_anything_is_written(copy, wrong):
    before = state(copy)
    with pytest.raises(SystemExit, match="owner/name"):
        badges.main(copy, [wrong])
    assert state(copy) == before
