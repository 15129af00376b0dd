"""`python -m headsup_cli` is the same as `headsup`."""

from headsup_cli.app import main

if __name__ == "__main__":
    main()
