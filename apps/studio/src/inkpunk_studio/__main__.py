"""`python -m inkpunk_studio` is `inkpunk-studio`."""

from inkpunk_studio.command import main

main(prog_name="inkpunk-studio")
