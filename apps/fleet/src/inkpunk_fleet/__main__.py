"""`python -m inkpunk_fleet` is the `inkpunk-fleet` command."""

from inkpunk_fleet.cli import main

if __name__ == "__main__":
    main()
