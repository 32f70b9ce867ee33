"""Secrets: read from files, and shown by nothing that the product prints."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from executors.secret_files import SECRETS
from executors.settings import Settings, source_of
from tasks.errors import ConfigurationError
from tasks.masking import shown_url
from tasks.store.backend import parse_url
from tests.support.processes import ROOT, Process, clean_environment, python

VALUES = {
    "DATABASE_URL": "postgresql://me:s3cret@db/jobs",
    "CELERY_BROKER_URL": "redis://:s3cret@broker:6379/0",
    "JOBGATE_PACKS_DATABASE_URL": "postgresql://me:s3cret@db/packs",
    "JOBGATE_API_KEYS": "ops:jg_0c1d2e3f4a5b6c7d8e9fa0b1:admin",
}


def test_each_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    environ = {}
    for name in SECRETS:
        (tmp_path / name).write_text(f"{VALUES[name]}\n")
        environ[f"{name}_FILE"] = str(tmp_path / name)
        assert source_of(name, environ) == "file"
    assert Settings.from_env(environ) == Settings.from_env(VALUES)
    (tmp_path / "JOBGATE_API_KEYS").write_text("a:key:read\n\n b:other:read\n")
    assert Settings.from_env(environ).api_keys == ("a:key:read", "b:other:read")


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_file_that_does_not_serve_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "value"
    environ = {f"{name}_FILE": str(file)}
    with pytest.raises(ConfigurationError, match=rf"{name}_FILE=.* cannot be read: No such file"):
        Settings.from_env(environ)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="cannot be read: it is not UTF-8"):
        Settings.from_env(environ)
    file.write_text(" \n")
    with pytest.raises(ConfigurationError, match=f"is empty: it must hold the value of {name}"):
        Settings.from_env(environ)
    file.write_text(VALUES[name])
    with pytest.raises(ConfigurationError, match=f"{name} and {name}_FILE are both set"):
        Settings.from_env({**environ, name: VALUES[name]})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@db/jobs?password=s3cret&ssl=require", "postgresql://me:***@db/jobs?***"),
        ("postgresql://me@db/jobs", "postgresql://me@db/jobs"),
        ("redis://:s3cret@broker:6379/0", "redis://:***@broker:6379/0"),
        ("rediss://broker/0?password=s3cret", "rediss://broker/0?***"),
        ("sqlite:////var/jobs.db", "sqlite:////var/jobs.db"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize("url", ["mysql://me:s3cret@db/x?password=s3cret", "mysql://db/x?password=s3cret", "s3cret"])
def test_a_wrong_url_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_url(url)
    assert "s3cret" not in refused.value.detail


def test_the_start_line_shows_no_secret(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db?password=s3cret"
    process = Process("gateway", python("-m", "gateway"), clean_environment(DATABASE_URL=url, PORT="0"), tmp_path)
    try:
        process.wait_for(r"Jobgate serves .*store sqlite:////.*jobs\.db\?\*\*\* ")
        assert "s3cret" not in process.output
    finally:
        process.stop()


@pytest.mark.parametrize(
    "url", ["postgresql://me:s3cret@127.0.0.1:1/old", "postgresql://127.0.0.1:1/old?password=s3cret"]
)
def test_the_import_takes_a_password_from_the_environment_alone(tmp_path: Path, url: str) -> None:
    def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        environment = clean_environment(DATABASE_URL=f"sqlite:///{tmp_path}/jobs.db", **environ)
        command = python("-m", "gateway.cli", "schedules", "import", "django", *words)
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    refused = run(url)
    assert (refused.returncode, "set OLD_DATABASE_URL and leave the URL out" in refused.stderr) == (2, True)
    tried = run(OLD_DATABASE_URL=url)
    assert tried.returncode == 2
    assert "s3cret" not in tried.stdout + tried.stderr + refused.stderr
    assert "usage" not in tried.stderr
