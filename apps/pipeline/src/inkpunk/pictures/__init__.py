"""Between pixels and files: what a picture remembers, reading, saving, grids of them."""
