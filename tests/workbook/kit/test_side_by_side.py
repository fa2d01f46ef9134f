"""Two texts side by side: cut, escaped, and readable where HTML is not shown."""

from lorabook.workbook.kit.side_by_side import short, side_by_side


def test_every_text_is_shown_cut_and_nothing_of_it_is_rendered(monkeypatch):
    shown: list[dict] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    side_by_side(("before", "after"), [("A <title>", "one\n<script>", "x" * 40)], longest=30)
    (data,) = shown
    assert "A &lt;title&gt;" in data["text/html"] and "<script>" not in data["text/html"]
    assert "x" * 30 + " …" in data["text/html"] and "x" * 31 not in data["text/html"]
    assert data["text/markdown"].splitlines()[2:6] == ["*before*", "", "> one", "> <script>"]


def test_folded_texts_are_seen_after_a_click(monkeypatch):
    shown: list[dict] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    for folded in ("", "<Two> texts"):
        side_by_side(("before", "after"), [("title", "left", "right")], folded=folded)
    plain, folded = shown
    summary = "<summary>&lt;Two&gt; texts</summary>"
    assert folded["text/html"] == f"<details>{summary}{plain['text/html']}</details>"
    assert folded["text/markdown"] == folded["text/plain"] == "*(<Two> texts: run this cell to read them)*"


def test_only_a_paragraph_that_goes_on_repeating_is_shortened():
    assert short("a\n\na\n\na\n\nb") == "a\n\na\n\na\n\nb"
    assert short("a\n\n" * 9 + "b") == "a\n\na\n\n(… and 7 times more)\n\nb"
