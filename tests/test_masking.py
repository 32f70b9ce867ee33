"""What looks like a secret is masked, and nothing else."""

from __future__ import annotations

import time

import pytest

from tasks.masking import mask_credentials, mask_secrets


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://shop:hunter2@db/shop", "postgresql://shop:***@db/shop"),
        ("redis://:hunter2@broker:6379/0", "redis://:***@broker:6379/0"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("{'authorization': 'Basic Zm9v'}", "{'authorization': '***'}"),
        ("Cookie: a=1; session=hunter2", "Cookie: ***"),
        ("Authorization: Token hunter2", "Authorization: ***"),
        ("{'token': b'hunter2'}", "{'token': ***}"),
        ("https://hunter2@github.example/x", "https://***@github.example/x"),
        ('{"api_key": "sk-1234", "model": "x"}', '{"api_key": ***, "model": "x"}'),
        ("connect(password='hunter2', user='me')", "connect(password=***, user='me')"),
        ("DB_PASSWORD=hunter2 make run", "DB_PASSWORD=*** make run"),
        ("Set-Cookie: sid=1; Path=/", "Set-Cookie: ***"),
        ("https://api.example/v1?access_token=abc&page=2", "https://api.example/v1?access_token=***"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert mask_secrets(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "if token == expected:",
        "http://127.0.0.1:8000/api",
        "no such file: /tmp/secrets.txt",
        "12:30:00 user@host",
        "the password is wrong",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask_secrets(text) == text


def test_a_message_keeps_its_words() -> None:
    assert (
        mask_credentials("unexpected token: '}' at https://me:pw@host/x")
        == "unexpected token: '}' at https://me:***@host/x"
    )


@pytest.mark.parametrize(
    "shape",
    ["x", "token", "token=", "password ", "://", "://a:", "Bearer ", "cookie:", '"', "a://b:c", "api_key'"],
)
def test_masking_takes_time_in_proportion_to_the_text(shape: str) -> None:
    def seconds(size: int) -> float:
        rounds = []
        for _ in range(3):
            began = time.thread_time()
            mask_secrets(shape * (size // len(shape)))
            rounds.append(time.thread_time() - began)
        return min(rounds)

    # Eight times the size: what is quadratic takes 64 times as long.
    assert seconds(160_000) < 8 * 2.5 * max(seconds(20_000), 0.001)
