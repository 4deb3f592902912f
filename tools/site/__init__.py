"""Builds the documentation site from the repository: guides, each package's reference, and the walk.

    uv run --group docs python -m tools.site build     # into site/html
    uv run --group docs python -m tools.site check     # the same, into a folder that is thrown away

The walk's numbers and pictures are drawn anew each time, so that they are those of the code beside them.
"""
