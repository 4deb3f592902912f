"""Releases of the members of the workspace, each by itself."""
