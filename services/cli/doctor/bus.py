"""The bus: there, with topics as the table says."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from services.cli.doctor.findings import Finding, look, ok, skipped, wrong
from shared.errors import Unavailable
from shared.topics import TOPICS

NAME = "bus"


def bus(url: str) -> Iterator[Finding]:
    if urlsplit(url).scheme == "kafka":
        yield from _kafka(url)
    elif Path(unquote(urlsplit(url).path)).exists():
        yield ok(NAME, f"embedded, {unquote(urlsplit(url).path)}")
    else:
        yield skipped(NAME, "the embedded bus is not there yet; the first start makes it")


def _kafka(url: str) -> Iterator[Finding]:
    from shared.kafka_bus import KafkaBus

    broker = KafkaBus.open(url)
    try:
        missing, differences = broker.objections()
    except Unavailable as error:
        yield wrong(
            NAME,
            str(error),
            "start Kafka, or mend RATCHET_BUS_URL; answers wait in the gateway's spool meanwhile, and nothing is lost",
        )
        return
    finally:
        broker.close()
    yield ok(NAME, f"Kafka answers at {urlsplit(url).netloc.rpartition('@')[2]}")
    yield from of_topics(missing, differences)


def of_topics(missing: list[str], differences: list[str]) -> Iterator[Finding]:
    name = "topics"
    if missing:
        yield wrong(name, f"the broker has no {', '.join(missing)}", "start a service: each makes what is missing")
    for sentence in differences:
        yield look(name, sentence, "the command that changes it stands beside it")
    if not missing and not differences:
        yield ok(name, f"all {len(TOPICS)} have their partitions, retention and size")
