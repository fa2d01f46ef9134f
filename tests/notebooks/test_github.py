"""What a reader without a kernel sees of a committed notebook on GitHub, in light as in dark."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.kit.notebooks import NOTEBOOKS, cells

EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
WIDGET = re.compile(r"application/vnd\.jupyter\.widget")
# Commands that MathJax 2 and 3 and KaTeX share without an extension; GitHub, nbviewer, Colab and JupyterLab use these.
MACRO = re.compile(r"\\(?:[A-Za-z]+|.)")
MACROS = set(
    MACRO.findall(
        r"""\alpha \beta \gamma \Delta \delta \epsilon \eta \theta \Theta \lambda \mu \nu \Pi \pi \rho \Sigma \sigma
        \tau \Phi \phi \Psi \psi \Omega \omega \mathrm \mathbf \mathbb \mathcal \text \hat \bar \tilde \vec \sqrt \frac
        \sum \prod \int \log \ln \exp \max \min \in \subset \times \cdot \odot \otimes \oplus \pm \leq \geq \le \ge
        \neq \ne \approx \sim \ll \gg \to \mapsto \infty \partial \nabla \top \mid \ldots \cdots \dots \quad \qquad
        \propto \left \right \lVert \rVert \lvert \rvert \| \{ \} \, \; \: \! \\ \begin \end"""
    )
)


def prose(path: Path) -> dict[int, str]:
    """Markdown cells by index, code blocks and code spans taken out."""
    found = {i: cell["source"] for i, cell in enumerate(cells(path)) if cell["cell_type"] == "markdown"}
    return {
        i: re.sub(r"`[^`\n]*`", "CODE", re.sub(r"```.*?```", "CODE", text, flags=re.DOTALL))
        for i, text in found.items()
    }


def maths_faults(text: str) -> list[str]:
    """What a Markdown text's formulas have that some reader's browser would not show, one line a fault."""
    found, display = [], re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL)
    rest = re.sub(r"\$\$.+?\$\$", "\n", text, flags=re.DOTALL)
    inline = re.findall(r"\$([^$\n]+)\$", rest)
    for before, formula, after in re.findall(r"(.?)\$([^$\n]+)\$(.?)", rest):
        if not re.fullmatch(r"[\s(]?", before) or not re.fullmatch(r"[\s.,;:?!)]?", after):
            found.append(f"{before}${formula}${after}: a character touches the dollar sign")
        if formula != formula.strip():
            found.append(f"${formula}$: a space inside the dollar sign")
        if "*" in formula or (formula.count("_") > 1 and re.search(r"[\s(,]_|_[\s,)]", formula)):
            found.append(f"${formula}$: Markdown would read emphasis")
    if "$" in re.sub(r"\$[^$\n]+\$", "", rest):
        found.append("a dollar sign that closes nothing")
    for formula in display + inline:
        unknown = set(MACRO.findall(formula)) - MACROS
        found += [f"{macro} in {formula!r}" for macro in sorted(unknown)]
    return found


@EACH
def test_formulas_are_shown_everywhere(path):
    assert {i: faults for i, text in prose(path).items() if (faults := maths_faults(text))} == {}


def test_faults_in_formulas_are_found():
    good = "The loss ($x$ and $y_t$): $$\\max_{\\Phi} \\sum_{t=1}^{|y|} \\log P_\\Phi(y_t)$$ holds for $d\\,k$."
    assert maths_faults(good) == []
    bad = ("a$x$", "$x$b", "$x$-th", "$ x$", "costs 5$", "$a * b * c$", r"$\bm{x}$", r"$$x \label{a}$$",
           r"see $\eqref{a}$", r"$\operatorname{rank}$", r"$$\newcommand{\R}{1}$$")  # fmt: skip
    assert [text for text in bad if not maths_faults(text)] == []


@EACH
def test_a_notebook_is_small_enough_to_be_shown(path):
    assert path.stat().st_size < 1_500_000


@EACH
def test_no_output_needs_a_kernel(path):
    assert not WIDGET.search(path.read_text(encoding="utf-8"))


@EACH
def test_each_explorer_has_its_picture_for_where_no_script_runs(path):
    for i, cell in enumerate(cells(path)):
        name = "".join(re.findall(r"^explorer = (\w+Explorer)\(\)$", cell["source"], re.MULTILINE))
        if name:
            kinds = {kind for output in cell["outputs"] for kind in output["data"]}
            assert kinds >= {"image/png", "text/markdown"}, f"{name} in cell {i}"


def pictures(path: Path) -> list[tuple[int, Image.Image]]:
    found = []
    for i, cell in enumerate(cells(path)):
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                found.append((i, Image.open(io.BytesIO(base64.b64decode("".join(png))))))
    return found


def see_through(picture: Image.Image) -> bool:
    """Without a background: what is drawn has colours for white pages and for dark ones (see `kit.figures`)."""
    alpha = picture.convert("RGBA").getchannel("A")
    return all(alpha.getpixel((x, y)) == 0 for x in (0, picture.width - 1) for y in (0, picture.height - 1))


@EACH
def test_pictures_let_a_dark_page_through(path):
    assert [i for i, picture in pictures(path) if not see_through(picture)] == []


def test_a_picture_with_a_background_is_found():
    assert see_through(Image.new("RGBA", (4, 4), (255, 255, 255, 0)))
    assert not see_through(Image.new("RGBA", (4, 4), (255, 255, 255, 255)))
    assert not see_through(Image.new("RGB", (4, 4), "black"))


def test_most_notebooks_have_pictures():
    assert sum(bool(pictures(path)) for path in NOTEBOOKS) >= 9


@EACH
def test_no_colour_is_forced_on_text(path):
    """HTML with colours of its own would suit one theme only."""
    for i, cell in enumerate(cells(path)):
        text = cell["source"] if cell["cell_type"] == "markdown" else ""
        assert not re.search(r"<(?:font|span|div|p)\b[^>]*(?:color|style)", text), f"cell {i}"
        for output in cell.get("outputs", []):
            assert not re.search("\x1b\\[(?:\\d;)?(?:30|37|90|97)m", "".join(output.get("text", ""))), (
                f"cell {i}: black, white or grey"
            )
            data = output.get("data", {})
            assert data.keys() <= {"text/plain", "text/markdown", "text/html", "image/png"}, f"cell {i}"
            html = re.sub(r"<script.*?</script>", "", "".join(data.get("text/html", "")), flags=re.DOTALL)
            assert "color" not in html, f"cell {i}"  # an explorer's script has colours for either theme
