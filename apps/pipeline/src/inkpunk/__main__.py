"""Where `inkpunk` and `python -m inkpunk` begin: a Ctrl-C is told as later, also while the command is imported."""

import sys

INTERRUPTED = 130  # what a shell reports of a program that was ended by Ctrl-C


def main() -> None:
    """Run the command line."""
    try:
        from inkpunk.cli import main as command
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(INTERRUPTED)
    command(prog_name="inkpunk")


if __name__ == "__main__":
    main()
