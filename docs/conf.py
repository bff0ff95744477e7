"""Sphinx configuration: Markdown pages, API pages from the docstrings."""

from importlib.metadata import version as installed

project = "fastconv"
author = "The fastconv developers"
copyright = "2026, The fastconv developers"
release = version = installed("fastconv")

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"fastconv {release}"

autodoc_typehints = "none"
numpydoc_show_class_members = False
