"""Between pixels and files: what a picture remembers, reading, saving."""
