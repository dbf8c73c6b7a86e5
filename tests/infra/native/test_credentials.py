from pathlib import Path

import pytest

from infra.native.credentials import credentials_in, token_in
from shared.errors import BadConfig


def test_they_are_drawn_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "stack" / "credentials.json"
    first = credentials_in(path)
    assert credentials_in(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_two_stacks_have_different_passwords(tmp_path: Path) -> None:
    first, second = credentials_in(tmp_path / "a.json"), credentials_in(tmp_path / "b.json")
    assert first.postgres_password != second.postgres_password
    assert first.argilla_owner_api_key != second.argilla_owner_api_key


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"postgres_password": '])
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text)
    with pytest.raises(BadConfig, match=r"credentials\.json does not hold"):
        credentials_in(path)
    assert path.read_text() == text


def test_a_token_is_drawn_once_into_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "stack" / "alert-token"
    first = token_in(path)
    assert len(first) >= 32
    assert token_in(path) == first == path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alert-token").write_text("\n")
    with pytest.raises(BadConfig, match="alert-token is empty"):
        token_in(tmp_path / "alert-token")
