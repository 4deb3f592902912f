"""`python -m inkpunk` is `inkpunk`."""

from inkpunk.cli import main

main(prog_name="inkpunk")
