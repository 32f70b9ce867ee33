"""`python -m gateway.cli`, which is what `jobgate` runs."""

import gc
import importlib


def main() -> None:
    """The entry point `jobgate`."""
    # Imports leave no garbage to collect: the collector would only add a tenth to the time that a command takes.
    gc.disable()
    commands = importlib.import_module("gateway.cli.main")
    gc.enable()
    commands.main()


if __name__ == "__main__":
    main()
