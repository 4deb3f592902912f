"""Checks of the workflows on GitHub."""
