"""`python -m gateway.cli`, which is what `jobgate` runs."""

from gateway.cli.main import main

if __name__ == "__main__":
    main()
