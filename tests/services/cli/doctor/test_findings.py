import io
import json
from collections.abc import Iterator

import pytest
from rich.console import Console

from services.cli.doctor.findings import (
    Check,
    Finding,
    State,
    look,
    misconfigured,
    ok,
    secrets_in,
    skipped,
    status_of,
    without_secrets,
    wrong,
)
from services.cli.doctor.page import as_object, show
from shared.errors import BadConfig, Unavailable


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([], 0),
        ([ok("a", "x"), look("b", "x", "y"), skipped("c", "x")], 0),
        ([ok("a", "x"), wrong("b", "x", "y")], 1),
        ([wrong("b", "x", "y"), misconfigured("a", "x", "y")], 2),
    ],
)
def test_the_status_is_that_of_the_worst_finding(findings: list[Finding], status: int) -> None:
    assert status_of(findings) == status
    assert as_object(findings)["status"] == status


@pytest.mark.parametrize(
    ("error", "state", "configuration"),
    [
        (BadConfig("the key x is 3"), State.WRONG, True),
        (Unavailable("the server is away"), State.WRONG, False),
        (ZeroDivisionError("a bug"), State.WRONG, False),
    ],
)
def test_a_check_that_fails_says_so_and_keeps_what_it_found_before(
    error: Exception, state: State, configuration: bool
) -> None:
    def run() -> Iterator[Finding]:
        yield ok("it", "begun")
        raise error

    begun, failed = Check("it", run).findings()
    assert begun == ok("it", "begun")
    assert (failed.state, failed.configuration) == (state, configuration)
    assert str(error) in failed.says


def test_no_password_key_or_token_is_in_what_is_said() -> None:
    environment = {
        "RATCHET_DATABASE_URL": "postgresql+psycopg://ratchet:s3cretpassword@127.0.0.1:5432/ratchet",
        "RATCHET_DESK_API_KEY": "the-api-key",
        "RATCHET_SCHEDULER_ALERT_TOKEN": "the-token",
        "RATCHET_LOG_LEVEL": "INFO",
    }
    said = "could not reach postgresql://ratchet:s3cretpassword@127.0.0.1 with the-api-key and the-token, INFO"
    (cleaned,) = without_secrets([wrong("database", said, said)], environment)
    for text in (cleaned.says, cleaned.do):
        assert "s3cretpassword" not in text
        assert "the-api-key" not in text
        assert "the-token" not in text
        assert "INFO" in text
        assert text.count("***") == 3


def test_a_longer_secret_is_taken_out_before_one_it_holds() -> None:
    environment = {"A_TOKEN": "abcd", "B_TOKEN": "abcdefgh"}
    assert secrets_in(environment) == ["abcdefgh", "abcd"]


def test_the_page_shows_every_finding_and_obeys_no_escape_sequence_in_it() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    show([ok("disk", "enough"), wrong("bus", "away \x1b[2J", "start it"), skipped("time", "no")], console)
    text = console.export_text()
    for word in ("disk", "enough", "away \\x1b[2J", "start it", "1 fine, 0 to look at, 1 wrong, 1 skipped"):
        assert word in text


def test_the_json_holds_the_same() -> None:
    made = json.loads(json.dumps(as_object([look("disk", "5 GiB", "make room")])))
    assert made["findings"] == [
        {"check": "disk", "state": "look", "says": "5 GiB", "do": "make room", "configuration": False}
    ]
