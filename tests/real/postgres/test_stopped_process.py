"""A process that is stopped in the middle of a transaction: the others wait for a while only."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.db import InboxRow, insert_once, open_database, transaction
from tests.databases import make_tables
from tests.real.postgres.cluster import own_cluster
from tests.real.stack import RunningStack

pytestmark = [pytest.mark.real, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
# Its patience is the only thing that differs from a service: a second where that has a minute.
PROGRAM = """
import sys
from shared import db
from shared.errors import Unavailable
db.IDLE_TRANSACTION_SECONDS = 1
try:
    with db.transaction(db.open_database(sys.argv[1], "tester")) as session:
        db.insert_once(session, db.InboxRow(consumer="c", event_id="of the stopped one"))
        print("in the middle", flush=True)
        sys.stdin.read()
        db.insert_once(session, db.InboxRow(consumer="c", event_id="too late"))
except Unavailable as error:
    print(error)
    sys.exit(75)
"""


def test_its_transaction_is_ended_for_it_and_when_it_goes_on_it_learns_that(servers: RunningStack) -> None:
    servers.need("postgres")
    with own_cluster() as cluster:
        make_tables(cluster.url)
        stopped = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, cluster.url],
            cwd=ROOT,
            env={**os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == "in the middle\n"
        stopped.send_signal(signal.SIGSTOP)
        engine = open_database(cluster.url, "tester")
        with transaction(engine) as session:
            insert_once(session, InboxRow(consumer="c", event_id="of another"))
        stopped.send_signal(signal.SIGCONT)
        said, _ = stopped.communicate("", timeout=60)
        assert (stopped.returncode, "the database cannot be used now" in said) == (75, True), said
        with transaction(engine) as session:
            found = session.connection().exec_driver_sql("SELECT event_id FROM inbox").scalars().all()
        assert list(found) == ["of another"]
        engine.dispose()
