"""The eyes: what the record looks like to Prometheus."""
