"""A broker behind TLS: its certificate is verified unless the URL says otherwise."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from kombu.exceptions import OperationalError

from executors.celery_app import make_celery
from executors.settings import Settings
from gateway.cli import own_redis
from tests.support.processes import free_port
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of a Redis that talks TLS, and the certificate of the authority that signed its own."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own.private_key_and_cert_chain_pem.write_to_path(folder / "own.pem")
    port = free_port()
    pem = str(folder / "own.pem")
    tls = ["--tls-port", str(port), "--tls-cert-file", pem, "--tls-key-file", pem, "--tls-auth-clients", "no"]
    process = subprocess.Popen(
        [str(own_redis.server()), "--port", "0", "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *tls],
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: process.poll() is not None or _speaks_tls(port, folder), 20, "Redis answers")
        if process.poll() is not None:
            pytest.skip("this Redis server was built without TLS")
        yield f"rediss://localhost:{port}/0", folder / "ca.pem"
    finally:
        process.terminate()
        process.wait()


def _speaks_tls(port: int, folder: Path) -> bool:
    with suppress(OSError):
        return bool(ssl.get_server_certificate(("localhost", port), ca_certs=str(folder / "ca.pem")))
    return False


def refusal(url: str) -> str:
    """Why a worker does not connect; empty where it does."""
    app = make_celery(Settings.from_env({"CELERY_BROKER_URL": url}), ["celery"])
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_max=0)
        except OperationalError as error:
            return str(error)
    return ""


def test_a_certificate_of_an_unknown_authority_is_refused(server: tuple[str, Path], tmp_path: Path) -> None:
    url, authority = server
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(url), "kombu's own default verifies nothing"
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(f"{url}?ssl_ca_certs={tmp_path}/other.pem")
    assert refusal(f"{url}?ssl_ca_certs={authority}") == ""


def test_a_url_may_say_that_no_certificate_is_verified(server: tuple[str, Path]) -> None:
    assert refusal(f"{server[0]}?ssl_cert_reqs=none") == ""


def test_urls_of_other_kinds_stay_as_they_are() -> None:
    for url in ("redis://broker/0", "amqps://broker", "rediss://broker/0?ssl_cert_reqs=none", "redis+socket:///a.sock"):
        assert Settings.from_env({"CELERY_BROKER_URL": url}).broker_url == url
