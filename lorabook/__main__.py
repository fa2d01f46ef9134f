"""The command line as a module: `python -m lorabook`, `accelerate launch -m lorabook`."""

from lorabook.cli import main

if __name__ == "__main__":
    main()
