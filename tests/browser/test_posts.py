"""A post that tries to run in the reader's browser, in JupyterLab: it is text there, letter for letter."""

import json

import nbformat
import pytest

from scripts.notebooks.browser import find_chromium, jupyterlab, notebook_page
from tests.faults.data_cases import SCRIPT  # the attack of the table of faults

pytestmark = pytest.mark.browser

# Every way on which text of a post reaches a notebook: rows, titles, answers, reports and errors, a widget's HTML.
CELLS = [
    "%matplotlib inline\nimport json\nfrom pathlib import Path\n"
    "from lorabook.data import stackoverflow\nfrom lorabook.data.examples import encode_all\n"
    "from lorabook.models.load import load_model\nfrom lorabook.workbook.kit.side_by_side import side_by_side\n"
    "data = stackoverflow.load('rows.jsonl')\nprint(data.report)\ndata.pairs",
    "tokenizer = load_model('pocket', device='cpu').tokenizer\n"
    "(pair,) = data.pairs\nprint(tokenizer.decode(encode_all([pair], tokenizer, 512)[0].input_ids))\n"
    "side_by_side(('before', 'after'), [(pair.title, pair.answer, pair.question)], folded=pair.title)\n"
    "print(data.pairs[0].title)\nprint(data.pairs[0].answer)\ndata.pairs[0]",
    "from lorabook.workbook.kit.question import Question\n"
    "title = data.pairs[0].title\nQuestion(title, ['a', title], 'a', title)",
    "from lorabook.workbook.questions import predict\npredict('toy', title)\npredict(title)",
    "from lorabook.errors import LorabookError\nfrom lorabook.data.stackoverflow import RowError, load\n"
    "from lorabook.workbook.kit import figures\n"
    "try:\n    load(Path('hostile.csv'))\nexcept LorabookError as error:\n    print(error)",
]


def test_a_post_that_tries_to_run_is_text(tmp_path):
    chromium, folder = find_chromium(), tmp_path / "notebooks"
    folder.mkdir()
    escaped = SCRIPT.replace("<", "&lt;").replace(">", "&gt;")
    body = f"<p>{escaped}</p><pre><code>{escaped}</code></pre>{SCRIPT}"
    row = {"question_id": 1, "title": SCRIPT, "question_body": body, "answer_body": body, "tags": [SCRIPT]}
    (folder / "rows.jsonl").write_text(json.dumps(row))
    (folder / "hostile.csv").write_text(f'"{SCRIPT.replace(chr(34), chr(34) * 2)}",b\n1,2\n')
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "post.ipynb")
    with jupyterlab(folder, tmp_path / "own") as lab, notebook_page(lab, chromium, "post.ipynb") as page:
        page.run_all(200)
        outputs = page.page.locator(".jp-OutputArea-output")
        page.page.wait_for_function("() => document.querySelector('.widget-html-content, .jupyter-widgets') !== null")
        texts = [" ".join(text.split()) for text in outputs.all_inner_texts()]
        shown = sum(SCRIPT in text.replace("\\'", "'") for text in texts)  # as it is, and as Python's repr
        assert shown >= 4, texts
        assert page.page.locator(".jp-OutputArea img[src='x'], .jp-OutputArea script").count() == 0
        hacked = page.page.evaluate("() => [window.hacked === undefined, document.title]")
        assert hacked[0] and "hacked" not in hacked[1]
        # the attack is a real one: put into the page as HTML, it works
        page.page.evaluate("markup => { document.body.insertAdjacentHTML('beforeend', markup); }", SCRIPT)
        page.page.wait_for_function("() => window.hacked === 1 && document.title === 'hacked'")
