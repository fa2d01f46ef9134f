"""`python -m lorabook` and `accelerate launch -m lorabook`: the command line."""

from lorabook.cli import main

if __name__ == "__main__":
    main()
