"""Sphinx settings; before a build, the reference is written from the parser and the tasks' protocols."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from reference import write_reference  # noqa: E402

project, author, copyright = "Graft", "The Graft authors", "The Graft authors"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Graft"
exclude_patterns = ["_build"]
suppress_warnings = ["misc.highlighting_failure"]


def setup(app) -> None:
    """Write the reference before the pages are read."""
    app.connect("builder-inited", lambda app: write_reference(Path(app.srcdir) / "reference"))
