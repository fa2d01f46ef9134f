"""Sphinx's settings for the book as a site; `scripts/notebooks/site.py` builds it with them."""

from docutils import nodes

import lorabook
from scripts.notebooks import site
from scripts.notebooks.badges import place_of

PLACE = place_of(site.ROOT)
REPOSITORY = f"https://github.com/{PLACE.slug}" if PLACE.slug else ""

project, version = "lorabook", lorabook.__version__
html_title = "lorabook"
extensions = ["myst_nb", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# The pages: notebooks with the outputs that are stored in them.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # what a cell displays may link to another notebook
nb_ipywidgets_js = {}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_heading_slug_func = "scripts.notebooks.site.jupyter_anchor"
html_math_renderer = "mathml"

# The library, from its docstrings.
apidoc_modules = [
    {
        "path": str(site.ROOT / "lorabook"),
        "destination": "api",
        "exclude_patterns": [str(site.ROOT / "lorabook/workbook"), "**/__main__.py"],
        "separate_modules": True,
        "module_first": True,
        "max_depth": 2,
        "automodule_options": {"members", "show-inheritance"},
    }
]
exclude_patterns = ["api/modules.rst"]
default_role = "py:obj"
autodoc_default_options = {"ignore-module-all": True}  # all is described once, where it is defined
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False

# The look.
html_theme = "sphinx_book_theme"
html_theme_options = {
    "navbar_persistent": [],  # the search is in the sidebar
    "footer_content_items": [],
    "use_fullscreen_button": False,
    "use_repository_button": bool(REPOSITORY),
    "repository_url": REPOSITORY,
    "show_toc_level": 2,
}
html_context = {"default_mode": "auto"}
html_static_path = ["site.css", "print.js"]
html_css_files = ["site.css"]
html_js_files = ["print.js"]
html_use_index = html_domain_indices = False  # the search finds every name
html_show_copyright = False
linkcheck_anchors = False
linkcheck_retries = 3


def _notebook(app, name, source):
    if app.env.doc2path(name).suffix == ".ipynb":
        source[0] = site.as_page(source[0], f"{name}.ipynb", PLACE)


def _docstring(app, what, name, described, options, lines):
    lines[:] = [*site.literal_blocks(lines), *(site.exports(described) if what == "module" else ())]


def _buttons(app, name, template, context, doctree):
    buttons = site.launch_buttons(f"{name}.ipynb", PLACE) if "ipynb" in context.get("page_source_suffix", "") else []
    if buttons:
        group = {"type": "group", "tooltip": "Run this notebook", "icon": "fas fa-rocket", "label": "launch-buttons"}
        context["header_buttons"].append(group | {"buttons": buttons})


def _equation(block):
    def visit(translator, node):
        translator.body.append(site.mathml(node.astext(), block))
        raise nodes.SkipNode

    return visit, None


def setup(app):
    app.add_html_math_renderer("mathml", _equation(False), _equation(True))
    app.connect("source-read", _notebook)
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon reads `Args:`
    app.connect("html-page-context", _buttons, priority=502)  # after the theme made its list of buttons
