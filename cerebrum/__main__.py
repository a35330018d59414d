"""`python -m cerebrum`: the command without the command on PATH."""

from cerebrum.cli import main

if __name__ == "__main__":
    main()
