"""What it costs: `python -m bench` measures the product's figures against their limits, on this machine, in one run."""
