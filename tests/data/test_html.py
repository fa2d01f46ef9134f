"""HTML to text. The oracles: html.unescape of the raw block, Python's own parser, and a clock."""

import ast
import html
import re
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabook.data.fences import code_blocks
from lorabook.data.html import HTML_LIMIT, html_to_text
from lorabook.errors import DataError

PROGRAMS = [
    "def f(x):\n    if x < 1 and x > -1:\n        return x & 3\n    return '&lt;b&gt;'",
    'class A:\n\tdef b(self):\n\t\treturn """\n   <p>kept</p>\n\n```\n"""',
    "    x = 1  # indented as a whole\n    y = '&amp;amp;'",
    'print("<|endoftext|>", "<fim_prefix>", """\n````python\n""")',
    "# -*- é ü 漢字 🐍 -*-\ns = 'a  b   c'",
]
quick = settings(max_examples=150, deadline=None)


def parsed(code: str) -> str:
    return ast.dump(ast.parse("if 1:\n" + code if code.startswith(" ") else code))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("around", ["{}", "<ul><li>a{}b</li></ul>", "<blockquote><p>q</p>{}</blockquote>"])
def test_code_is_verbatim(program: str, around: str) -> None:
    raw = html.escape(program, quote=False)
    text = html_to_text(
        "<p>Before</p>" + around.format(f'<pre class="lang-py"><code>{raw}\n</code></pre>') + "<p>After"
    )
    assert html.unescape(raw) in text
    (block,) = code_blocks(text)
    assert block == program
    assert parsed(block) == parsed(program)
    assert text.startswith("Before\n\n") and text.endswith("\n\nAfter")


def test_entities_are_unescaped_once() -> None:
    raw = "a &amp;lt; b &lt; c &#39;x&#39; &quot;&eacute;&quot; &amp;amp;amp;"
    assert code_blocks(html_to_text(f"<pre><code>{raw}</code></pre>")) == [html.unescape(raw)]
    assert html_to_text(f"<p>{raw}</p>") == html.unescape(raw)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>One  two\n three</p>\n\n<p>four</p>", "One two three\n\nfour"),
        ("<p>Use <code>a  &lt; b</code>, <b>not</b> <a href='https://x.example'>that <i>one</i></a>.</p>",
         "Use `a  < b`, not that one."),
        ("<p>A <code>`tick`</code> and <code>a``b</code></p>", "A `` `tick` `` and ```a``b```"),
        ("<ul><li>one</li>\n<li><p>two</p><p>more</p></li></ul><p>end</p>", "- one\n- two\n\n  more\n\nend"),
        ("<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>", "- a\n  - b\n- c"),
        ("<ul><li>one<pre><code>x</code></pre></li><li>two</li></ul>", "- one\n\n```\nx\n```\n\n- two"),
        ("<blockquote><p>said<br>so</p><p>again</p></blockquote>me", "> said\n> so\n\n> again\n\nme"),
        ("<h2>Title</h2>text<hr><h3></h3>end<hr>", "## Title\n\ntext\n\n---\n\nend"),
        ("<p>a<img src='x' alt='secret'>b</p><script>no()</script><style>p{}</style><!-- no <b> -->c", "ab\n\nc"),
        ("<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>", "a | b\n\n1 | 2"),
        ("<p>2<sup>10</sup> H<sub>2</sub>O</p>", "2^10 H2O"),
        ("<p>a</p></div><span class='comment-copy'>Thanks, <code>x</code>!</span>", "a"),
        ("<pre>no code tag<br>second</pre>", "```\nno code tag\nsecond\n```"),
        ("<code>a<pre>b</pre></code>c", "`a`\n\n```\nb\n```\n\nc"),
        ("<pre><code><b class='kw'>for</b> i in x:\r\n  y\rend</code></pre>", "```\nfor i in x:\n  y\nend\n```"),
        ("<p>a\x00\x1b[1m b\ud800 &#xD800; &#7;</p>", "a[1m b\ufffd \ufffd"),
        ("<p>```python<br>x</p>", "\\```python\nx"),
        ("if a <b and c < d", "if a <b and c < d"),
        ("<p>&lt;|endoftext|> <|endoftext|> &lt;fim_prefix&gt;</p>", "<|endoftext|> <|endoftext|> <fim_prefix>"),
        ("<pre><code>  \n</code></pre><code> </code>", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_what_each_tag_becomes(markup: str, text: str) -> None:
    assert html_to_text(markup) == text


def test_a_body_like_a_file_name_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert html_to_text("setup.py") == "setup.py"
        assert html_to_text("https://example.org/") == "https://example.org/"


TAGS = ["p", "pre", "code", "ul", "li", "blockquote", "h2", "hr", "br", "img", "script", "b", "a", "sup", "td", "span"]
TAGS += ["textarea", "svg", "title", "x class=comment-copy"]
MARKS = ["<!--", "-->", "<![CDATA[", "<!", "<?", "<", "&#", "&lt", "&#xD800;", "]]>", "```", "\n", "<a b='", "</"]
PIECES = st.one_of(
    st.sampled_from([f"<{end}{tag}>" for tag in TAGS for end in ("", "/")]), st.sampled_from(MARKS), st.text(max_size=6)
)


def sound(text: str) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text)
    assert text == text.strip("\n")
    text.encode()


@quick
@given(st.text(st.characters(), max_size=200))
def test_any_text_converts(text: str) -> None:
    sound(html_to_text(text))


@quick
@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_soup_converts(soup: str) -> None:
    sound(html_to_text(soup))


@quick
@given(st.lists(st.text(st.sampled_from("`~ab \n\\<&"), max_size=30), max_size=4), st.text("`a \n", max_size=12))
def test_blocks_are_found_again(codes: list[str], prose: str) -> None:
    body = "".join(f"<p>{prose}</p><pre><code>{html.escape(code)}</code></pre>" for code in codes) + f"<p>{prose}</p>"
    assert code_blocks(html_to_text(body)) == [code.strip("\n") for code in codes if code.strip()]


@pytest.mark.seconds
@pytest.mark.parametrize(
    "unit", ["<b>", "<blockquote>x", "<ul><li>x", "<pre>x", "<!--", "<a ", "<![CDATA[", "</", "&#"]
)
def test_hostile_bodies_take_seconds_at_most(unit: str) -> None:
    started = time.process_time()
    text = html_to_text(unit * (HTML_LIMIT // len(unit)))
    assert len(text) < 20 * HTML_LIMIT
    assert time.process_time() - started < 10  # the parser alone takes minutes for some of these


def test_too_long_is_refused() -> None:
    with pytest.raises(DataError, match=r"200,001 characters.*Leave this post out"):
        html_to_text("x" * (HTML_LIMIT + 1))
