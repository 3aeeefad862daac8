"""Sphinx's configuration."""

import tomllib
from pathlib import Path

with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
    release = tomllib.load(file)["project"]["version"]

project = "querycache"
author = copyright = "the querycache contributors"
version = release

extensions = ["myst_parser", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"querycache {release}"

nitpicky = True
exclude_patterns = ["_build", "changelog.d"]

# A prompt is not part of a command.
copybutton_exclude = ".linenos, .gp, .go"
