"""What a scraper asks for in `Accept` and `Accept-Encoding`, with its weights (RFC 9110, 12.4.2).

prometheus_client's own choice ignores the weights: it takes `q=0`, "not this one", for a wish.
"""

from __future__ import annotations

OPENMETRICS = "application/openmetrics-text"


def wants_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics is named and weighs at least as much as plain text."""
    weights = _weights(accept)
    text = next((weights[name] for name in ("text/plain", "text/*", "*/*") if name in weights), 0.0)
    weight = weights.get(OPENMETRICS, 0.0)
    return weight > 0 and weight >= text


def wants_gzip(accept_encoding: str) -> bool:
    weights = _weights(accept_encoding)
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weights(header: str) -> dict[str, float]:
    """The weight of each name; the highest where a name stands more than once, as in other versions of a format."""
    weights: dict[str, float] = {}
    for entry in header.lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        weights[name] = max(weights.get(name, 0.0), _weight(parameters))
    return weights


def _weight(parameters: list[str]) -> float:
    """Between 0 and 1; 0 if it cannot be read."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0.0 <= weight <= 1.0 else 0.0
    return 1.0
