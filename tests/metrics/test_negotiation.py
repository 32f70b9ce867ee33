"""The format and coding are those that the scraper prefers, by the weights that it gives."""

from __future__ import annotations

import pytest

from metrics.negotiation import wants_gzip, wants_openmetrics

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,*/*;q=0.8", False),
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; version=1.0.0 , text/plain", True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text; q=0.000, */*", False),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.1,*/*", True),
        ("application/openmetrics-text;q=0.2,text/*", False),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q=high", False),
        ("application/openmetrics-text;q=2", False),
        (";;q=,,=;" * 2_000, False),
    ],
)
def test_the_format_is_the_one_asked_for(accept: str, openmetrics: bool) -> None:
    assert wants_openmetrics(accept) is openmetrics


@pytest.mark.parametrize(
    ("accept_encoding", "gzip"),
    [
        ("", False),
        ("identity", False),
        ("gzip, deflate, br", True),
        ("GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("*;q=1, gzip;q=0", False),
        ("deflate, *;q=0", False),
    ],
)
def test_the_coding_is_one_that_the_scraper_takes(accept_encoding: str, gzip: bool) -> None:
    assert wants_gzip(accept_encoding) is gzip
