"""Where the project is published is said in one place; badges, links and first cells follow it."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from IPython.core.interactiveshell import InteractiveShell

import lorabook
from scripts.notebooks import badges
from tests.kit.notebooks import NOTEBOOKS, ROOT

NAMES = [path.name for path in NOTEBOOKS]
BADGE = re.compile(r"\[!\[([^\]]+)\]\((\S+?)\)\]\((\S+?)\)")
PUBLISHED = ["--slug", "some-one/lora.book"]
SLUG = PUBLISHED[1]


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


def check_badges(text: str, notebook: str) -> None:
    """Badges for the three hosts, in this order, each to this very notebook."""
    found = BADGE.findall(text)
    assert [name for name, _, _ in found] == ["Open In Colab", "Open in Kaggle", "Open in Binder"]
    assert {target(link) for _, _, link in found} == {(SLUG, f"notebooks/{notebook}")}


def rows(root: Path) -> dict[str, str]:
    lines = (root / "README.md").read_text(encoding="utf-8").splitlines()
    found = [(re.match(r"\| \[[^\]]+\]\(\S*notebooks/(\w+\.ipynb)\)", line), line) for line in lines]
    return {match[1]: line.split(" | ")[0] for match, line in found if match}


def cells(notebook: str, root: Path) -> list[str]:
    content = json.loads((root / "notebooks" / notebook).read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"]]


def links(root: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", (root / "README.md").read_text(encoding="utf-8"))


@pytest.fixture
def copy(tmp_path) -> Path:
    for name in ("pyproject.toml", "README.md", "CITATION.cff"):
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


def test_every_notebook_is_in_the_readme():
    assert sorted(rows(ROOT)) == NAMES


def test_unpublished_nothing_leads_to_an_address_that_somebody_else_may_own(copy):
    badges.main(copy, ["--slug", "none"])
    assert [link for link in links(copy) if "github" in link] == []
    assert "urls" not in tomllib.loads((copy / "pyproject.toml").read_text())["project"]
    for notebook in NAMES[:2]:
        title, first = cells(notebook, copy)[:2]
        assert not BADGE.search(title) and "git+" not in first and "==" not in first
        assert len([line for line in first.splitlines() if line]) <= 9


def test_published_every_notebook_has_its_badges_and_installs_from_there(copy):
    before = state(copy)
    badges.main(copy, PUBLISHED)
    after = state(copy)
    for notebook in NAMES[:2]:
        title, first = cells(notebook, copy)[:2]
        check_badges(title, notebook)
        check_badges(rows(copy)[notebook], notebook)
        assert f'else "git+https://github.com/{SLUG}"' in first
    project = tomllib.loads((copy / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Homepage"] == f"https://github.com/{SLUG}"
    assert f'repository-code: "https://github.com/{SLUG}"' in (copy / "CITATION.cff").read_text()
    badges.main(copy, PUBLISHED)
    assert state(copy) == after, "twice is once"
    badges.main(copy, ["--slug", "none"])
    assert state(copy) == before, "and the way back"


def test_published_the_readme_s_links_are_absolute_and_lead_to_files(copy):
    badges.main(copy, PUBLISHED)
    assert [link for link in links(copy) if not link.startswith("https://")] == []
    blob, raw = f"https://github.com/{SLUG}/blob/main/", f"https://raw.githubusercontent.com/{SLUG}/main/"
    files = [link.removeprefix(blob).removeprefix(raw) for link in links(copy) if link.startswith((blob, raw))]
    assert len(files) > 10 and all((ROOT / file.partition("#")[0]).exists() for file in files)
    assert f"\ngit clone https://github.com/{SLUG} lorabook " in (copy / "README.md").read_text(encoding="utf-8")
    assert [link for link in links(copy) if link.startswith(raw)] == [f"{raw}docs/notebooks.png"]


def test_on_pypi_the_first_cell_takes_this_series(copy):
    badges.main(copy, [*PUBLISHED, "--pypi"])
    series = re.match(r"\d+\.\d+", lorabook.__version__)
    assert series and f"'lorabook=={series[0]}.*'" in cells(NAMES[0], copy)[1]


@pytest.mark.parametrize("wrong", ["", "lorabook", "https://github.com/a/b", "a/b/c", "a b/c"])
def test_what_is_no_place_is_refused_before_anything_is_written(copy, wrong):
    before = state(copy)
    with pytest.raises(SystemExit, match="owner/name"):
        badges.main(copy, ["--slug", wrong])
    assert state(copy) == before


# The first cell


@pytest.fixture
def installs(monkeypatch, tmp_path):
    """Run the first cell of an unpublished notebook in tmp_path/notebooks with no lorabook there.

    Returns what pip is asked for; raises what the cell raises.
    """
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    asked = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    shell = InteractiveShell()
    shell.register_magic_function(asked.append, magic_name="pip")

    def call(arguments: list[str]) -> str:
        source = badges.Place(*arguments).first_cell().split("from lorabook")[0]
        shell.run_cell(source).raise_error()
        command, rest = asked[-1].split(maxsplit=1)
        assert command == "install"
        return rest

    yield call
    InteractiveShell.clear_instance()


def test_it_takes_the_newest_wheel_beside_it(installs, tmp_path):
    for version in ("0.2.0", "0.2.1"):
        (tmp_path / f"notebooks/lorabook-{version}-py3-none-any.whl").touch()
    assert installs(["", False]) == "-q lorabook-0.2.1-py3-none-any.whl"
    assert installs([SLUG, False]) == "-q lorabook-0.2.1-py3-none-any.whl"


def test_else_the_checkout_above_it(installs, tmp_path):
    (tmp_path / "lorabook").mkdir()
    quiet, place = installs(["", False]).split()
    assert quiet == "-q" and os.path.samefile(place, tmp_path)


def test_else_it_says_how_to_get_one(installs):
    with pytest.raises(AssertionError, match=r"Put lorabook's wheel beside this notebook"):
        installs(["", False])


def test_else_what_is_published(installs):
    assert installs([SLUG, False]) == f"-q git+https://github.com/{SLUG}"
    assert installs([SLUG, True]).startswith("-q 'lorabook==")


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_passes_slug_and_pypi_on():
    def command(*variables: str) -> str:
        dry = ["make", "--no-print-directory", "-n", "badges", *variables]
        shown = subprocess.run(dry, cwd=ROOT, check=True, capture_output=True, text=True)
        return shown.stdout.splitlines()[-1]

    assert command(f"SLUG={SLUG}").endswith(f"badges --slug {SLUG} ")
    assert command(f"SLUG={SLUG}", "PYPI=1").endswith(f"badges --slug {SLUG} --pypi")
    assert command().split()[-1] == "scripts.notebooks.badges"
