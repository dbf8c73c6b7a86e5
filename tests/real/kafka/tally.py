"""A consumer that notes every event it handles in a row of its own: what was handled twice has two rows.

`python -m tests.real.kafka.tally BUS_URL DATABASE_URL EVENTS` runs one member of the group `tally` and prints a line
for each event. It kills itself (SIGKILL) in the middle of the transaction of its EVENTS-th event.
"""

import os
import signal
import sys
import time
from itertools import count
from typing import Any

from sqlmodel import Field, Session, SQLModel, select

from shared import topics
from shared.bus import open_bus
from shared.consumer import ConsumerLoop, Handler
from shared.db import InboxRow, OffsetRow, OutboxRow, open_database, reading
from shared.events import FeedbackGiven
from shared.outbox import Outbox
from shared.web import crash

SERVICE = "tally"


class TallyRow(SQLModel, table=True):
    __tablename__ = "test_tally"
    id: int | None = Field(default=None, primary_key=True)
    feedback_id: str


def make_tables(database_url: str) -> None:
    engine = open_database(database_url, SERVICE)
    for row in (TallyRow, InboxRow, OffsetRow, OutboxRow):
        SQLModel.metadata.tables[str(row.__tablename__)].create(engine)
    engine.dispose()


def counted(database_url: str) -> list[str]:
    engine = open_database(database_url, SERVICE)
    with reading(engine) as session:
        found = list(session.exec(select(TallyRow.feedback_id)))
    engine.dispose()
    return found


def counting(most: int) -> Handler:
    numbers = count(1)

    def add(event: Any, session: Session, _outbox: Outbox) -> None:
        session.add(TallyRow(feedback_id=event.feedback_id))
        session.flush()
        print(event.feedback_id, flush=True)
        if next(numbers) == most:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.002)  # a transaction of many events, so that there is a middle

    return add


def main(bus_url: str, database_url: str, most: str) -> None:
    loop = ConsumerLoop(
        service=SERVICE,
        engine=open_database(database_url, SERVICE),
        bus=open_bus(bus_url),
        handlers={FeedbackGiven: [counting(int(most))]},
        listens_to=[topics.FEEDBACK],
        on_crash=crash,
    )
    loop.start()
    loop.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
