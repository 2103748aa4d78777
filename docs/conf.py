"""The site: `make docs` builds it into docs/_build, without internet, and stops at any warning."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import medcompare  # noqa: E402 - the checkout that these pages belong to, whatever is installed

project = "medcompare"
author = "the medcompare authors"
copyright = author  # noqa: A001 - the name that Sphinx reads
version = release = medcompare.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "generated",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}  # .rst: what autosummary writes

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4  # links such as operations.md#docker

napoleon_google_docstring = False
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types and shapes
autodoc_inherit_docstrings = False
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
# Names of Python objects in annotations lead into other projects; pages and headings must all be found.
nitpick_ignore_regex = [("py:.*", ".*")]
suppress_warnings = ["ref.python"]  # a record that two rooms export has two places

html_theme = "furo"
html_title = f"medcompare {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"source_repository": "", "top_of_page_buttons": []}
pygments_style = "friendly"
