"""`ratchet migrate` as people use it."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from services.cli import migrate
from shared.db import open_database, transaction
from shared.errors import BadConfig, Unavailable
from shared.processes import free_ports
from shared.schema import every_schema

ROOT = Path(__file__).parents[3]


def ratchet_migrate(folder: Path, *words: str, said: str = "") -> tuple[int, str, str]:
    environment = {**os.environ, "RATCHET_DATABASE_URL": "", "RATCHET_DATA_DIR": str(folder)}
    command = [sys.executable, "-m", "services.cli", "migrate", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, input=said, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_check_migrate_and_down_say_what_they_found_and_did(tmp_path: Path) -> None:
    status, said, _ = ratchet_migrate(tmp_path, "--check")
    assert status == 1
    assert "annotation: at base, to apply: 0001" in said
    status, said, _ = ratchet_migrate(tmp_path)
    assert status == 0
    assert "annotation 0001 applied" in said
    status, said, _ = ratchet_migrate(tmp_path, "--check")
    assert status == 0
    assert said.count("as needed") == len(every_schema())
    status, said, _ = ratchet_migrate(tmp_path, "--down", "scheduler=base", said="n\n")
    assert status == 1
    assert "is lost" in said
    status, said, _ = ratchet_migrate(tmp_path, "--down", "scheduler=base", "--yes")
    assert status == 0
    assert "scheduler 0001 taken back" in said
    assert "CREATE TABLE scheduler_jobs" in ratchet_migrate(tmp_path, "--sql")[1]


@pytest.mark.slow
def test_words_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    status, _, error = ratchet_migrate(tmp_path, "--check", "--sql")
    assert status == 2
    assert "give one of them" in error


@pytest.mark.parametrize(
    ("target", "words"),
    [("gateway=base", "nobody called 'gateway' owns tables"), ("scheduler", "names no revision"), ("=base", "nobody")],
)
def test_a_way_down_that_leads_nowhere_is_refused(tmp_path: Path, target: str, words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        migrate.downgrade(f"sqlite:///{tmp_path / 'ratchet.db'}", target)


def test_a_start_waits_for_a_database_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.BUSY_TIMEOUT_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path / 'ratchet.db'}"
    holder, told, said = open_database(url), threading.Event(), list[str]()

    def say(line: str) -> None:
        said.append(line)
        told.set()

    with transaction(holder) as session:
        session.connection()
        starting = threading.Thread(target=migrate.upgrade_when_there, args=(url, say))
        starting.start()
        assert told.wait(60)
    starting.join(60)
    assert said[0].startswith("waits for the database")
    assert "annotation 0001 applied" in said
    holder.dispose()


def test_a_start_gives_up_on_a_database_that_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "WAIT_SECONDS", 0.0)
    (port,) = free_ports(1)
    with pytest.raises(Unavailable, match="the database cannot be used now"):
        migrate.upgrade_when_there(f"postgresql+psycopg://ratchet@127.0.0.1:{port}/ratchet", lambda line: None)


def test_a_look_makes_no_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'data' / 'ratchet.db'}"
    lines, current = migrate.look(url)
    assert not current
    assert any(line.startswith("annotation: at base, to apply: 0001") for line in lines)
    assert "CREATE TABLE scheduler_jobs" in migrate.script(url)
    assert list(tmp_path.iterdir()) == []


def test_a_look_is_at_the_database_that_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ratchet.db'}"
    migrate.upgrade(url)
    assert migrate.look(url)[1]
    assert "CREATE TABLE scheduler_jobs" not in migrate.script(url)
