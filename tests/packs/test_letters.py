"""A letter is what its job says and nothing else: addresses one by one, no header out of a value."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.clients import mail
from tasks.clients.mail import Letter
from tasks.errors import InvalidArguments

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def letter(**fields: Any) -> Letter:
    usual = {"sender": "Jobgate <no-reply@jobgate.example>", "to": ("a@there.example",), "subject": "s", "text": "t"}
    return Letter(**{**usual, "key": "job-1", "date": NOW, **fields})


def test_a_letter_says_who_what_and_which_job() -> None:
    made = mail.compose(letter(subject="Grüße 你好", html="<p>t</p>", copies=("c@there.example",)))
    read = message_from_bytes(made.as_bytes(), policy=default)
    assert read["From"] == "Jobgate <no-reply@jobgate.example>"
    assert (read["To"], read["Cc"], read["Subject"]) == ("a@there.example", "c@there.example", "Grüße 你好")
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]
    assert read["Message-ID"] == "<job-1@jobgate.example>"
    assert mail.compose(letter(text="another run"))["Message-ID"] == read["Message-ID"]


NO_ADDRESSES = [
    *(
        "",
        "a",
        "a@",
        "@b.example",
        "a@b.example, evil@x.example",
        "a@b.example\r\nBcc: evil@x.example",
        "a@b.example\n",
    ),
    *("<a@b.example>", "Name <a@b.example>", "a b@c.example", "a@b.example;c@d.example", "a\x00@b.example"),
    *("ä@b.example", '"a b"@c.example', f"{'a' * 65}@b.example", f"a@{'b' * 64}.example"),
]


@pytest.mark.parametrize("subject", ["10\u00a0000 €", "你好\u3000世界", "👩\u200d💻"])
def test_a_subject_in_any_script_arrives_as_it_is(subject: str) -> None:
    made = mail.compose(letter(subject=subject))
    assert message_from_bytes(made.as_bytes(), policy=default)["Subject"] == subject


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArguments):
        mail.address(text)


def test_a_domain_in_any_script_is_written_as_the_wire_wants_it() -> None:
    assert mail.address("a@bücher.example") == "a@xn--bcher-kva.example"
    assert mail.address("first.last+tag@there.example") == "first.last+tag@there.example"


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "hi\r\nBcc: evil@x.example"},
        {"subject": "hi\nX: y"},
        {"subject": "s" * 501},
        *({"subject": f"hi{one}there"} for one in "\x00\t\x7f\x85\u2028\u2029\ud800"),
        {"sender": "Me\r\nBcc: evil@x.example <a@b.example>"},
        {"sender": ""},
        {"reply_to": "a@b.example\r\nX: y"},
        {"to": ("a@b.example\r\nRCPT TO:<evil@x.example>",)},
        {"key": "job\r\nX: y"},
    ],
)
def test_no_value_becomes_a_header_of_its_own(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArguments):
        mail.compose(letter(**fields))


@given(subject=st.text(max_size=200), name=st.text(max_size=50))
def test_whatever_is_taken_adds_no_header(subject: str, name: str) -> None:
    try:
        made = mail.compose(letter(subject=subject, sender=f"{name} <a@b.example>"))
    except InvalidArguments:
        return
    read = message_from_bytes(made.as_bytes(), policy=default)
    usual = {"Message-ID", "Date", "From", "To", "Subject", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
    assert set(read.keys()) <= usual
    assert len(read["From"].addresses) == 1
    assert read["From"].addresses[0].addr_spec == "a@b.example"
