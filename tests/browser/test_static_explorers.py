"""The explorers' static versions in Chromium, with no kernel and no network: what they show and how it reads."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from lorabook.workbook.kit.explorer import Explorer
from scripts.assets.explorer_pictures import every_explorer
from scripts.checks.explorer_vectors import drawn_states
from scripts.notebooks.browser import FLAGS, find_chromium

pytestmark = pytest.mark.browser
EACH = pytest.mark.parametrize("explorer", every_explorer(), ids=lambda explorer: type(explorer).__name__)
STATES = 30  # of each explorer
WIDTHS = (1400, 900, 420)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        running = p.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def tab(browser):
    """One page for all tests, since to open another takes longer than most of them.

    `asked` are addresses it wanted, `problems` its errors, both since the last document was opened.
    """
    page = browser.new_page()
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda line: page.problems.append(line.text) if line.type == "error" else None)
    page.asked, page.problems = [], []
    return page


def open_page(page, explorer: Explorer, tmp_path):
    """A document with nothing but the static version."""
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><body>{explorer.static_version()['text/html']}", "utf-8")
    page.set_viewport_size({"width": 900, "height": 900})
    page.goto("about:blank")
    page.asked, page.problems = [], []
    page.goto(file.as_uri())
    return page


def open_for_states(page, explorer: Explorer, width: int):
    """A document whose `set(state)` puts the explorer into a state, as Python does to the live version."""
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("about:blank")
    spec = json.dumps(explorer.spec).replace("</", "<\\/")
    page.set_content(
        "<!doctype html><body><div id=host class=lorabook-explorer></div><script type=module>"
        f"{explorer.module}\nconst spec = {spec};\nconst data = spec.data;\n"
        "window.set = mount(document.getElementById('host'), explorer, spec, data, spec.state, () => {});</script>"
    )
    page.wait_for_function("() => window.set")
    return page


@EACH
def test_what_is_shown_is_what_python_says(tab, explorer):
    page = open_for_states(tab, explorer, 900)
    for state in drawn_states(explorer, STATES, seed=2):
        page.evaluate("state => set(state)", asdict(state))
        said, seen = explorer.shown(state), page.evaluate(SEEN)
        assert seen["error"] == said.get("error", ""), state
        if "error" in said:
            assert not seen["visible"]
            continue
        assert seen["visible"] and seen["title"] == seen["named"] == said["title"], state
        assert seen["readout"] == said["readout"].split("\n") and seen["described"] == said["readout"], state
        copied = [f"{name}: {text}" for name, text in said.get("copy", {}).items()]
        assert seen["details"] == [*filter(None, said.get("details", "").split("\n")), *copied], state
        drawn = {part["name"]: part["bytes"] for part in seen["bars"]}
        bars = {f"{bar}: {part}": size for bar, parts in said.get("bars", {}).items() for part, size in parts.items()}
        assert drawn == {name: size for name, size in bars.items() if size}, state
        widest = max(seen["bars"], key=lambda part: part["width"], default=None)
        for part in seen["bars"]:  # to one scale
            assert part["width"] == pytest.approx(widest["width"] * part["bytes"] / widest["bytes"], abs=0.01)


@EACH
@pytest.mark.parametrize("width", WIDTHS)
def test_every_text_can_be_read(tab, explorer, width):
    page = open_for_states(tab, explorer, width)
    for state in drawn_states(explorer, 12, seed=3):
        page.evaluate("state => set(state)", asdict(state))
        assert page.evaluate(UNREADABLE) == [], (width, state)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "it is wider than the page"


@EACH
def test_it_moves_by_the_keyboard_with_no_kernel_and_no_network(tab, explorer, tmp_path):
    page = open_page(tab, explorer, tmp_path)
    page.wait_for_function(READY)
    moved = 0
    for _ in range(page.evaluate(FOCUSABLE) + 1):
        page.keyboard.press("Tab")
        kind = page.evaluate("() => document.querySelector('.lorabook-explorer').shadowRoot.activeElement?.type")
        if kind in ("range", "radio", "checkbox"):
            before = page.evaluate(VALUES)
            for key in ("Space",) if kind == "checkbox" else ("ArrowRight", "ArrowLeft", "ArrowLeft"):
                page.keyboard.press(key)
                if page.evaluate(VALUES) != before:
                    break
            else:
                pytest.fail(f"no key moves {page.evaluate(ACTIVE)}")
            moved += 1
    boxes = [len(max(c.options.values(), key=len)) - 1 for c in explorer.controls.values() if c.by]
    assert moved >= len(explorer.controls) + sum(boxes) - 4  # another model may have fewer boxes
    for button in page.locator(".presets button").all():
        before = page.evaluate(SHOWN)
        button.focus()
        page.keyboard.press("Space")
        assert page.evaluate(SHOWN) != before
    assert page.problems == [] and all(url.startswith(("file:", "data:")) for url in page.asked)


@EACH
def test_a_link_leads_to_its_state(tab, explorer, tmp_path):
    page = open_page(tab, explorer, tmp_path)
    page.wait_for_function(READY)
    address, state = page.url, list(drawn_states(explorer, 9, seed=5))[-1]
    page.evaluate("() => { navigator.clipboard.writeText = async text => { window.copied = text; }; }")
    first = page.evaluate(SHOWN)
    page.locator("input[type=range]").first.focus()
    page.keyboard.press("ArrowRight")
    if page.evaluate(SHOWN) == first:  # it opened at the slider's end
        page.keyboard.press("ArrowLeft")
    page.evaluate(f"() => {ROOT}.querySelector('.link button').click()")
    moved, link = page.evaluate(SHOWN), page.evaluate("() => window.copied")
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_function(READY)
    assert page.evaluate(SHOWN) == moved != first
    page.goto("about:blank")
    page.goto(f"{address}#{type(explorer).__name__}={json.dumps(asdict(state))}")
    page.wait_for_function(READY)
    assert page.evaluate(SEEN)["error"] == explorer.shown(state).get("error", "")
    assert page.evaluate(SEEN)["readout"] == [x for x in explorer.shown(state).get("readout", "").split("\n") if x]
    page.goto("about:blank")
    page.goto(f"{address}#{type(explorer).__name__}={{}}")  # no state: ignored
    page.wait_for_function(READY)
    assert page.evaluate(SEEN)["title"] == explorer.shown(explorer.default)["title"] and page.problems == []


@EACH
def test_without_scripts_there_is_the_picture(browser, explorer, tmp_path):
    page = open_page(browser.new_page(java_script_enabled=False), explorer, tmp_path)
    picture = page.locator(".lorabook-explorer img")
    assert picture.is_visible() and picture.bounding_box()["width"] > 800
    assert picture.get_attribute("alt") == explorer.shown(explorer.default)["readout"]
    page.close()


@EACH
def test_it_follows_the_theme_of_the_page(tab, explorer, tmp_path):
    for scheme, dark in (("light", False), ("dark", True)):
        tab.emulate_media(color_scheme=scheme)
        page = open_page(tab, explorer, tmp_path)
        page.wait_for_function(READY)
        paper, ink = page.evaluate(COLOURS)
        assert (sum(paper) < 200, sum(ink) > 500) == (dark, dark)
        page.evaluate(LAB_THEME)  # JupyterLab's variables win over the reader's preference
        assert page.evaluate(COLOURS) == [[1, 2, 3], [200, 201, 202]]


ROOT = "document.querySelector('.lorabook-explorer').shadowRoot"
READY = f"() => {ROOT}?.querySelector('section')"
SHOWN = f"""() => JSON.stringify([
    {ROOT}.querySelector('.error').textContent, {ROOT}.querySelector('.title').textContent,
    {ROOT}.querySelector('.readout').textContent, {ROOT}.querySelector('svg')?.outerHTML])"""
VALUES = f"() => JSON.stringify([...{ROOT}.querySelectorAll('input')].map(input => [input.checked, input.value]))"
ACTIVE = f"() => {ROOT}.activeElement.closest('.control').textContent"
FOCUSABLE = f"() => {ROOT}.querySelectorAll('input, button, summary').length"
SEEN = f"""() => {{
    const root = {ROOT}, svg = root.querySelector('svg'), rest = root.querySelectorAll('.details p:not(.link)');
    const lines = name => [...root.querySelectorAll(name)].map(line => line.textContent);
    return {{
        error: root.querySelector('.error').textContent,
        visible: getComputedStyle(root.querySelector('.figure')).visibility === 'visible',
        title: root.querySelector('.title').textContent,
        readout: lines('.readout p'),
        details: [...rest].map(p => p.textContent.replace(/copy$/, '')),
        named: svg?.querySelector('title').textContent,
        described: svg?.querySelector('desc').textContent,
        bars: [...svg?.querySelectorAll('[data-bytes][data-part]') ?? []].map(bar => ({{
            name: bar.dataset.part, bytes: Number(bar.dataset.bytes), width: Number(bar.getAttribute('width')),
        }})),
    }};
}}"""
# Texts of the drawing that leave it or lie on one another. The names of the axes of a scene may be crossed by it.
UNREADABLE = f"""() => {{
    const root = {ROOT}, svg = root.querySelector('svg');
    if (getComputedStyle(root.querySelector('.figure')).visibility === 'hidden') return [];
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].filter(text => !/^θ\\d$/.test(text.textContent)).map(text =>
        [text.textContent, text.getBoundingClientRect()]);
    const found = texts.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1 ||
        box.top < frame.top - 1 || box.bottom > frame.bottom + 1).map(([text]) => `${{text}} is cut`);
    texts.forEach(([one, a], i) => texts.slice(i + 1).forEach(([other, b]) => {{
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 1 && high > 4) found.push(`${{one}} lies on ${{other}}`);
    }}));
    return found;
}}"""
COLOURS = f"""() => {{
    const style = getComputedStyle({ROOT}.querySelector('section'));
    return [style.backgroundColor, style.color].map(colour => colour.match(/\\d+/g).slice(0, 3).map(Number));
}}"""
LAB_THEME = """() => {
    document.documentElement.style.setProperty('--jp-layout-color0', 'rgb(1, 2, 3)');
    document.documentElement.style.setProperty('--jp-content-font-color1', 'rgb(200, 201, 202)');
}"""
