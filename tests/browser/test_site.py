"""The built site in Chromium: no other host is needed, links lead somewhere, explorers move, a phone can show it."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from scripts.assets.explorer_pictures import every_explorer
from scripts.notebooks.browser import FLAGS, find_chromium
from tests.kit.notebooks import NOTEBOOKS, PAGES, ROOT, headings
from tests.project.test_rooms import FILES

pytestmark = pytest.mark.browser

OTHERS = [Path("index"), Path("api/lorabook.memory.families")]  # the latter has the longest words
WIDTHS, SCHEMES = (1400, 900, 420), ("light", "dark")
# The build, in a process that cannot connect to anything.
BUILD = """
import gc, socket, sys
from pathlib import Path

gc.disable()  # documents are trees of very many objects: to look through them takes a fifth of the time

def refuse(*arguments):
    raise OSError("The build opened a connection.")

socket.socket.connect = socket.getaddrinfo = refuse
from scripts.notebooks.site import build
sys.exit(build("html", Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("myst_nb", reason="the site's packages are not installed: pip install -e '.[site]'")
    folder = tmp_path_factory.mktemp("build").resolve() / "site"
    command = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def tab() -> Iterator:
    """One page for all tests, since to open another takes as long as most of them.

    `asked` are addresses it wanted, `problems` its errors.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        page: Any = browser.new_page()
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.asked, page.problems = [], []
        yield page
        browser.close()


# Files


@cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def broken_links(site: Path) -> list[str]:
    """Links inside the site that lead to no file or to no place in it. The theme leaves templates in `_static`."""
    paths = [path for path in site.rglob("*.html") if path.parent.name != "_static"]
    pages = {path: parsed(path) for path in paths}
    places = {path: {tag["id"] for tag in page.find_all(id=True)} for path, page in pages.items()}
    found = []
    for path, page in pages.items():
        for tag in page.find_all(True):
            link = urlsplit(tag.get("href") or tag.get("src") or "")
            if link.scheme or link.netloc:
                continue
            target = (path.parent / unquote(link.path)).resolve() if link.path else path
            fragment = unquote(link.fragment)
            if not target.is_file() or (fragment and target in places and fragment not in places[target]):
                found.append(f"{path.relative_to(site)}: {link.geturl()}")
    return found


def test_no_link_inside_the_site_is_broken(site):
    assert broken_links(site) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<p id="x"><a href="b.html#y"></a><a href="#x"></a><a href="https://c"></a>')
    (tmp_path / "b.html").write_text('<a href="a.html#z"></a><img src="gone.png"><a href="a.html#x"></a>')
    assert sorted(broken_links(tmp_path)) == ["a.html: b.html#y", "b.html: a.html#z", "b.html: gone.png"]


def test_every_notebook_has_a_page_and_can_be_downloaded(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for path in PAGES:
        page = parsed(site / f"{path.stem}.html")
        assert page.find("a", href=f"_sources/{path.name}") and f'"{path.stem}"' in index
        assert (site / "_sources" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_has_the_sections_of_its_notebook(site, notebook):
    page = parsed(site / f"{notebook.stem}.html")
    found = [re.sub(r"#$", "", heading.get_text()) for heading in page.select("article :is(h1, h2, h3)")]
    straight = [heading.replace("’", "'").replace("“", '"').replace("”", '"') for heading in found]
    assert straight == [text for _, text in headings(notebook)]


def test_the_library_has_a_page_for_every_module(site):
    modules = [path.relative_to(ROOT).with_suffix("").parts for path in FILES]
    names = {".".join(parts).removesuffix(".__init__") for parts in modules if parts[-1] != "__main__"}
    library = {name for name in names if not name.startswith("lorabook.workbook")} | {"lorabook"}
    assert {path.stem for path in (site / "api").glob("*.html")} == library
    page = parsed(site / "api/lorabook.html")
    assert page.find("a", href="lorabook.lora.html#lorabook.lora.apply_lora")
    assert 'id="lorabook.lora.apply_lora"' in (site / "api/lorabook.lora.html").read_text("utf-8")


# In the browser


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda path: path.stem)
def test_a_page_loads_nothing_from_elsewhere_and_fits_a_phone(tab, address, page):
    name = page if page.parent == Path("api") else page.stem
    tab.asked, tab.problems = [], []
    tab.goto(f"{address}/{name}.html")
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert len(tab.asked) > 5 and tab.problems == []
    assert [url for url in tab.asked if not url.startswith((address, "data:"))] == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("explorer", every_explorer(), ids=lambda explorer: type(explorer).__name__)
def test_an_explorer_moves_in_the_colours_of_the_page(tab, address, site, explorer, scheme):
    name = type(explorer).__name__
    (page,) = [path for path in site.glob("0*.html") if f'data-name="{name}"' in path.read_text("utf-8")]
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": 1300, "height": 900})
    tab.goto(f"{address}/{page.name}")
    host = tab.locator(".lorabook-explorer")
    assert host.count() == 1  # and no picture, no Markdown beside it
    assert tab.locator(".cell_output", has=host).inner_text() == host.inner_text()
    assert not host.locator("> img").is_visible()
    before = host.locator(".figure").inner_html()
    control = host.locator("input[type=range]").first
    control.press("ArrowRight" if control.input_value() == "0" else "ArrowLeft")
    assert host.locator(".figure").inner_html() != before
    paper = host.locator("section").evaluate("each => getComputedStyle(each).backgroundColor")
    assert paper == tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) > 382) == (scheme == "light")


def test_the_search_finds_a_notebook(tab, address):
    tab.goto(f"{address}/search.html?q=hadamard")
    tab.locator("#search-results a", has_text="06 · Fastfood").first.wait_for()


def test_a_dark_page_is_printed_light(tab, address):
    tab.emulate_media(color_scheme="dark")
    tab.goto(f"{address}/03_rank_and_alpha.html", wait_until="networkidle")
    theme = "document.documentElement.dataset.theme"
    tab.evaluate(f"addEventListener('beforeprint', () => window.printed = {theme})")
    assert len(tab.pdf()) > 100_000
    assert (tab.evaluate("window.printed"), tab.evaluate(theme)) == ("light", "dark")
