"""Feeds the readers of strangers' files with damaged ones."""
