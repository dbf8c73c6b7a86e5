"""The consuming loop on the real embedded bus and a real database: an event acts once, whatever happens."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlmodel import Field, Session, SQLModel, col, select

from shared import consumer as consumer_module
from shared import topics
from shared.bus import Outgoing, Position
from shared.consumer import ConsumerLoop
from shared.db import InboxRow, OffsetRow, OutboxRow, open_database, transaction
from shared.dead_letters import DeadLetter
from shared.errors import Unavailable, Unusable
from shared.events import ExampleCurated, FeedbackGiven, KnowledgeGapFound, decode, encode
from shared.ids import first_uuid7_at, uuid7
from shared.outbox import Outbox, OutboxPublisher, publish_pending
from shared.sqlite_log import SqliteBus
from tests.databases import of_folder

pytestmark = pytest.mark.usefixtures("database")


class SeenRow(SQLModel, table=True):
    """What a handler wrote; the table of this test alone."""

    __tablename__ = "test_seen"
    id: int | None = Field(default=None, primary_key=True)
    feedback_id: str


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class World:
    """A bus, a database and what a service would do with them."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite://{folder / 'bus.db'}"
        self.bus = SqliteBus.open(self.url)
        self.engine: Engine = open_database(of_folder(folder), "tester")
        SeenRow.metadata.tables["test_seen"].create(self.engine, checkfirst=True)
        self.crashes: list[BaseException] = []
        self.commits = 0
        self.stumble: Callable[[FeedbackGiven], None] = lambda event: None
        self._loops: list[ConsumerLoop] = []

    def see(self, event: FeedbackGiven, session: Session, outbox: Outbox) -> None:
        session.add(SeenRow(feedback_id=event.feedback_id))
        outbox.add(KnowledgeGapFound(correction_id=event.feedback_id, workload="w"))
        self.stumble(event)

    def loop(self, **changes: object) -> ConsumerLoop:
        def committed() -> None:
            self.commits += 1

        arguments: dict[str, object] = {
            "service": "tester",
            "engine": self.engine,
            "bus": self.bus,
            "handlers": {FeedbackGiven: [self.see]},
            "listens_to": [topics.FEEDBACK],
            "on_crash": self.crashes.append,
            "after_commit": committed,
            "retry_seconds": 0.02,
        }
        loop = ConsumerLoop(**(arguments | changes))  # type: ignore[arg-type]
        self._loops.append(loop)
        loop.start()
        return loop

    def publish(self, *values: bytes, key: str = "k") -> None:
        self.bus.publish([Outgoing(topics.FEEDBACK, key, value) for value in values])

    def seen(self) -> list[str]:
        with transaction(self.engine) as session:
            return list(session.exec(select(SeenRow.feedback_id).order_by(col(SeenRow.id))))

    def outbox(self) -> list[OutboxRow]:
        with transaction(self.engine) as session:
            return list(session.exec(select(OutboxRow).order_by(col(OutboxRow.id))))

    def letters(self) -> list[DeadLetter]:
        return [msgspec.json.decode(r.value, type=DeadLetter) for r in self.outbox() if r.topic == topics.DEAD]

    def offset(self) -> int:
        with transaction(self.engine) as session:
            return sum(session.exec(select(OffsetRow.next_offset)))

    def stop(self) -> None:
        for loop in self._loops:
            loop.stop()
        self._loops = []

    def close(self) -> None:
        self.stop()
        self.bus.close()
        self.engine.dispose()


@pytest.fixture(autouse=True)
def _quick_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "POLL_SECONDS", 0.05)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def feedback(name: str, event_id: str | None = None) -> bytes:
    return encode(FeedbackGiven(feedback_id=name, answer_id="a", thumb="up"), "gateway", event_id or uuid7())


def test_an_event_reaches_its_handler_and_its_facts_the_outbox(world: World) -> None:
    world.publish(feedback("f1"), feedback("f2"))
    world.loop()
    until(lambda: world.offset() == 2)
    assert world.seen() == ["f1", "f2"]
    assert [row.topic for row in world.outbox()] == [topics.CURATION] * 2
    assert world.commits >= 1


def test_an_event_written_twice_acts_once(world: World) -> None:
    twice = feedback("f1")
    world.publish(twice, feedback("f2"), twice)
    world.publish(twice)
    world.loop()
    until(lambda: world.offset() == 4)
    assert world.seen() == ["f1", "f2"]
    assert len(world.outbox()) == 2


def test_a_delivery_after_a_crash_before_the_bus_s_commit_changes_nothing(world: World) -> None:
    """The database had committed, the bus had not; then the database's offsets were lost as well."""
    world.publish(feedback("f1"), feedback("f2"))
    world.loop()
    until(lambda: world.offset() == 2)
    world.stop()
    with transaction(world.engine) as session:
        session.connection().execute(text("DELETE FROM offsets"))
    consumer = world.bus.consumer("tester", [topics.FEEDBACK])
    consumer.poll(10, 1.0)
    consumer.commit({(topics.FEEDBACK, n): 0 for n in range(6)})
    consumer.close()
    world.loop()
    until(lambda: world.offset() == 2)
    assert world.seen() == ["f1", "f2"]


def test_another_service_handles_the_same_event_for_itself(world: World) -> None:
    world.publish(feedback("f1"))
    world.loop()
    world.loop(service="other")
    until(lambda: world.offset() == 2)
    assert world.seen() == ["f1", "f1"]


def test_unusable_events_become_dead_letters_and_the_rest_goes_on(world: World) -> None:
    def refuse_f2(event: FeedbackGiven) -> None:
        if event.feedback_id == "f2":
            raise Unusable("f2 says nothing")

    world.stumble = refuse_f2
    world.publish(b"\xff not json", feedback("f1"), feedback("f2"), feedback("f3"))
    world.loop()
    until(lambda: world.offset() == 4)
    assert world.seen() == ["f1", "f3"]
    first, second = world.letters()
    assert first.value == "� not json"
    assert (first.topic, first.offset, first.consumer) == (topics.FEEDBACK, 0, "tester")
    assert second.reason == "f2 says nothing"
    assert world.crashes == []


def test_hostile_bytes_are_dead_letters_not_crashes(world: World) -> None:
    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    hostile = [b"", b"null", b"[]", b'"\\ud800"', b"{" * 10_000, deep, feedback("f").replace(b'"up"', b"[" * 5000)]
    hostile.append(feedback("f").replace(b"ratchet.feedback.given.v1", b"ratchet.unheard.of.v1"))
    hostile.append(feedback("f").replace(b'"specversion":"1.0"', b'"specversion":"9.0"'))
    world.publish(*hostile, feedback("f1"))
    world.loop()
    until(lambda: world.offset() == len(hostile) + 1)
    assert world.seen() == ["f1"]
    assert len(world.letters()) == len(hostile)


def test_what_the_database_cannot_hold_is_a_dead_letter(world: World) -> None:
    def too_large(event: FeedbackGiven, session: Session, outbox: Outbox) -> None:
        session.add(SeenRow(id=10**30, feedback_id="f"))

    world.publish(feedback("f1"))
    world.loop(handlers={FeedbackGiven: [too_large]})
    until(lambda: world.offset() == 1)
    assert "cannot hold it" in world.letters()[0].reason


def test_an_unavailable_handler_rolls_back_and_is_tried_again(world: World) -> None:
    attempts: list[str] = []

    def away_twice(event: FeedbackGiven) -> None:
        attempts.append(event.feedback_id)
        if event.feedback_id == "f2" and attempts.count("f2") < 3:
            raise Unavailable("the desk is away")

    world.stumble = away_twice
    world.publish(b"bad", feedback("f1"), feedback("f2"), feedback("f3"))
    world.loop()
    until(lambda: world.offset() == 4)
    assert world.seen() == ["f1", "f2", "f3"]
    assert len(world.letters()) == 1
    assert len(world.outbox()) == 4


def test_retries_do_not_wear_out_the_brake(world: World) -> None:
    attempts: list[str] = []

    def away_often(event: FeedbackGiven) -> None:
        attempts.append(event.feedback_id)
        if len(attempts) < 10:
            raise Unavailable("away")

    world.stumble = away_often
    world.publish(b"bad", b"bad", feedback("f1"))
    world.loop(dead_letter_brake=2)
    until(lambda: world.offset() == 3)
    assert world.crashes == []


def test_the_brake_stops_a_consumer_that_rejects_everything(world: World) -> None:
    world.publish(*[b"bad"] * 6)
    loop = world.loop(dead_letter_brake=5)
    until(lambda: bool(world.crashes))
    assert "6 events in a row are unusable for tester" in str(loop.failed)
    assert world.offset() == 0
    assert world.outbox() == []


def test_the_brake_lets_go_after_one_good_event(world: World) -> None:
    world.publish(*[b"bad"] * 4, feedback("f1"), *[b"bad"] * 4)
    world.loop(dead_letter_brake=4)
    until(lambda: world.offset() == 9)
    assert len(world.letters()) == 8


def test_a_bug_crashes_loudly_and_takes_nothing(world: World) -> None:
    def bug(event: FeedbackGiven) -> None:
        raise KeyError("a bug")

    world.stumble = bug
    world.publish(feedback("f1"))
    loop = world.loop()
    until(lambda: bool(world.crashes))
    assert isinstance(loop.failed, KeyError)
    assert world.seen() == []
    assert world.offset() == 0


def test_events_of_no_concern_are_passed_without_a_row(world: World) -> None:
    event = ExampleCurated(example_id="e", correction_id="c", workload="w", split="train", group="g")
    world.publish(encode(event, "annotation"), feedback("f1"))
    world.loop()
    until(lambda: world.offset() == 2)
    with transaction(world.engine) as session:
        assert len(session.exec(select(InboxRow)).all()) == 1


def test_a_slow_batch_is_committed_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "HOLD_SECONDS", 0.0)
    world.publish(*[feedback(f"f{n}") for n in range(10)])
    world.loop()
    until(lambda: world.offset() == 10)
    assert world.commits == 10
    assert len(world.seen()) == 10


def test_a_database_that_is_locked_is_waited_for(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.BUSY_TIMEOUT_SECONDS", 0.05)
    impatient = open_database(of_folder(tmp_path), "tester")
    world.publish(feedback("f1"))
    with transaction(world.engine) as session:
        session.connection()  # from here on it holds the write lock
        loop = world.loop(engine=impatient)
        until(lambda: "lock" in str(loop.waiting))
    until(lambda: world.offset() == 1)
    assert world.seen() == ["f1"]
    until(lambda: loop.waiting is None)


def test_old_inbox_rows_are_forgotten_and_young_ones_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "PRUNE_SECONDS", 0.0)
    old, young = first_uuid7_at(time.time() - 40 * 86400), uuid7()
    with transaction(world.engine) as session:
        session.add(InboxRow(consumer="tester", event_id=old))
        session.add(InboxRow(consumer="other", event_id=old))
        session.add(InboxRow(consumer="tester", event_id=young))
    world.loop()

    def rows() -> set[tuple[str, str]]:
        with transaction(world.engine) as session:
            return {(row.consumer, row.event_id) for row in session.exec(select(InboxRow))}

    until(lambda: ("tester", old) not in rows())
    assert rows() == {("other", old), ("tester", young)}


EVENTS = [feedback(f"f{number}") for number in range(6)] + [b"never usable"]


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    deliveries=st.lists(st.lists(st.integers(0, len(EVENTS) - 1), max_size=6), min_size=1, max_size=5),
    stumbles=st.sets(st.integers(0, 12), max_size=4),
    forget_offsets=st.booleans(),
)
def test_any_interleaving_of_duplicates_stumbles_and_restarts_leaves_each_event_once(
    tmp_path_factory: pytest.TempPathFactory, deliveries: list[list[int]], stumbles: set[int], forget_offsets: bool
) -> None:
    """stumbles: at which handler calls a dependency is away. Between two deliveries the service restarts."""
    world = World(tmp_path_factory.mktemp("world"))
    calls = iter(range(10**6))

    def stumble(event: FeedbackGiven) -> None:
        if next(calls) in stumbles:
            raise Unavailable("away")

    world.stumble = stumble
    published = 0
    try:
        for delivery in deliveries:
            world.publish(*[EVENTS[number] for number in delivery])
            published += len(delivery)
            expected = published
            world.loop(retry_seconds=0.001)
            until(lambda expected=expected: world.offset() == expected or not expected)  # type: ignore[misc]
            world.stop()
            if forget_offsets:
                rewind(world)
        sent = {number for delivery in deliveries for number in delivery}
        assert sorted(world.seen()) == sorted(f"f{number}" for number in sent if number < 6)
        facts = [row for row in world.outbox() if row.topic == topics.CURATION]
        assert len(facts) == len(world.seen())
        assert world.crashes == []
    finally:
        world.close()


def rewind(world: World) -> None:
    """Both the bus's commit and the database's offsets are lost: everything is delivered again."""
    with transaction(world.engine) as session:
        session.connection().execute(text("UPDATE offsets SET next_offset = 0"))
    start: dict[Position, int] = {(topics.FEEDBACK, partition): 0 for partition in range(6)}
    consumer = world.bus.consumer("tester", [topics.FEEDBACK])
    consumer.poll(1, 0.0)
    consumer.commit(start)
    consumer.close()


def test_the_outbox_is_published_in_order_and_emptied(world: World) -> None:
    world.publish(*[feedback(f"f{n}") for n in range(5)])
    world.loop()
    until(lambda: world.offset() == 5)
    assert publish_pending(world.engine, world.bus, "another service") == 0
    assert publish_pending(world.engine, world.bus, "tester") == 5
    assert publish_pending(world.engine, world.bus, "tester") == 0
    gaps = [msgspec.json.decode(record.value)["data"] for record in world.bus.history(topics.CURATION)]
    assert [gap["correction_id"] for gap in gaps] == [f"f{n}" for n in range(5)]


def test_a_crash_between_publishing_and_deleting_publishes_the_same_ids_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(feedback("f1"))
    world.loop()
    until(lambda: world.offset() == 1)
    row = world.outbox()[0]
    world.bus.publish([Outgoing(row.topic, row.key, row.value)])  # and then the process was killed
    publish_pending(world.engine, world.bus, "tester")
    ids = [msgspec.json.decode(record.value)["id"] for record in world.bus.history(topics.CURATION)]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_an_outbox_row_the_bus_can_never_take_does_not_block_the_rest(world: World) -> None:
    with transaction(world.engine) as session:
        session.add(OutboxRow(service="tester", topic=topics.JOBS, key="k", value=b"x" * 5 * 2**20))
        session.add(OutboxRow(service="tester", topic=topics.JOBS, key="k", value=b"fine"))
    publish_pending(world.engine, world.bus, "tester")
    assert [record.value for record in world.bus.history(topics.JOBS)] == [b"fine"]
    (letter,) = [msgspec.json.decode(r.value, type=DeadLetter) for r in world.bus.history(topics.DEAD)]
    assert "over the bus's" in letter.reason
    assert letter.cut_bytes > 4 * 2**20
    assert world.outbox() == []


def test_the_publisher_waits_while_the_bus_is_away_and_then_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.outbox.RETRY_SECONDS", 0.02)
    tried, away = threading.Event(), threading.Event()
    away.set()
    publish = world.bus.publish

    def unreliable(records: list[Outgoing]) -> None:
        if away.is_set():
            tried.set()
            raise Unavailable("away")
        publish(records)

    monkeypatch.setattr(world.bus, "publish", unreliable)
    publisher = OutboxPublisher(world.engine, world.bus, "tester")
    publisher.start()
    with transaction(world.engine) as session:
        Outbox(session, "tester").add(KnowledgeGapFound(correction_id="c", workload="w"))
    publisher.notify()
    assert tried.wait(10)
    assert len(world.outbox()) == 1
    away.clear()
    until(lambda: world.outbox() == [])
    publisher.stop()


def test_a_bug_in_the_publisher_is_not_silent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(records: list[Outgoing]) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(world.bus, "publish", broken)
    with transaction(world.engine) as session:
        Outbox(session, "tester").add(KnowledgeGapFound(correction_id="c", workload="w"))
    publisher = OutboxPublisher(world.engine, world.bus, "tester", on_crash=world.crashes.append)
    publisher.start()
    until(lambda: bool(world.crashes))
    publisher.stop()


def test_what_two_processes_write_at_once_is_published_in_the_order_of_its_commits(
    world: World, tmp_path: Path
) -> None:
    """A later row must not be published, and an earlier one follow it: a number is taken before the commit."""
    another = open_database(of_folder(tmp_path), "tester")
    published: list[str] = []

    def write(session: Session, name: str) -> None:
        Outbox(session, "tester").add(KnowledgeGapFound(correction_id=name, workload="w"))
        session.flush()

    def second() -> None:
        with transaction(another) as session:
            write(session, "second")

    def publish() -> None:
        published.extend(decode(row.value)[1].correction_id for row in world.outbox())  # type: ignore[attr-defined]

    with transaction(world.engine) as session:
        write(session, "first")
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()  # it waits for the first
    thread.join(60)
    publish()
    assert published == ["first", "second"]
    another.dispose()


def test_a_key_too_long_for_an_index_is_a_dead_letter_where_the_database_has_that_limit(world: World) -> None:
    name = "".join(f"{number * 2654435761 % 2**32:08x}" for number in range(2000))  # does not compress

    def kept(event: FeedbackGiven, session: Session, outbox: Outbox) -> None:
        session.add(InboxRow(consumer="other", event_id=name))

    world.publish(feedback("f1"), feedback("f2"))
    world.loop(handlers={FeedbackGiven: [lambda e, s, o: kept(e, s, o) if e.feedback_id == "f1" else None]})
    until(lambda: world.offset() == 2)
    assert world.crashes == []
    letters = world.letters()
    assert [letter for letter in letters if "cannot hold it" not in letter.reason] == []
    assert len(letters) == (1 if world.engine.dialect.name == "postgresql" else 0)
