"""`python -m earsight` is `earsight`."""

from earsight.cli import main

if __name__ == "__main__":
    main()
