"""Settings of the site. Its source folder is the root of the checkout: `make site`."""

import sys
from importlib.metadata import files
from importlib.metadata import version as version_of
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs/_ext"), str(ROOT / "tools")]

project = "Autoencoders, measured"
author = "The aelib authors"
copyright = "The aelib authors. MIT licence"
release = version_of("aelib")
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "house",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "docs/api/*.rst",
    "notebooks/*.ipynb",
    "notebooks/solutions/*.ipynb",
    "studies/*/*.ipynb",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
    "data/README.md",
    "results/README.md",
]
exclude_patterns = ["**/.ipynb_checkpoints", "docs/_*"]
templates_path = [str(Path(__file__).with_name("_templates"))]

# Notebooks are shown as they are stored.
nb_execution_mode = "off"
nb_render_markdown_format = "gfm"  # claims and tables in outputs are of GitHub's Markdown
nb_output_stderr = "remove"
nb_custom_formats = {".ipynb": ["house.read_notebook", {}, False]}
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 4
myst_heading_slug_func = "house.slug"  # links to sections are written as JupyterLab writes them

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_custom_sections = [
    ("Call arguments", "params_style"),
    "Input shape",
    "Output shape",
    "Reference",
]

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark
html_copy_source = False
html_show_sphinx = False
html_use_index = False
html_domain_indices = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the search is in the side bar
}
# MathJax comes with the site: nothing is loaded from elsewhere.
mathjax = Path(
    next(file for file in files("sphinx-mathjax-offline") if file.name == "tex-chtml.js").locate()
)
mathjax_path = f"mathjax/{mathjax.name}"
