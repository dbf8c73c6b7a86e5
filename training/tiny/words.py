"""The words of the tiny world: values, and the sentences that mention them.

Pure data and seeded draws; nothing here reads a clock or a file. Each domain is a kind of short business message. A
sentence names its fields in braces; a message is a handful of such sentences, so texts rarely repeat.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

FIRST_NAMES = (
    "Mara", "Jonas", "Elif", "Tomas", "Ines", "Pavel", "Nora", "Hugo", "Aisha", "Marek", "Lena", "Oskar",
    "Priya", "Diego", "Hanna", "Emil", "Yuki", "Omar", "Greta", "Felix", "Alma", "Ravi", "Sofia", "Anton",
    "Leila", "Bruno", "Clara", "Ivan", "Maya", "Otto", "Zara", "Nils", "Rosa", "Kofi", "Vera", "Luca", "Dana",
    "Tariq", "Edda", "Simon", "Wanda", "Jens", "Mira", "Paul", "Olga", "Rene", "Tess", "Amir", "Lotte", "Gus",
    "Pia", "Erik", "Nadia", "Karl", "Iris", "Sven", "Rita", "Milo", "Ada", "Cem",
)  # fmt: skip
CITIES = (
    "Bremen", "Porto", "Lyon", "Gdansk", "Turin", "Malmo", "Ghent", "Cork", "Leeds", "Basel", "Graz", "Brno",
    "Seville", "Tartu", "Aarhus", "Utrecht", "Bergen", "Split", "Varna", "Nantes", "Kassel", "Dresden", "Oulu",
    "Toledo", "Verona", "Zagreb", "Lille", "Bath", "Jena", "Pisa",
)  # fmt: skip
DEVICES = (
    "router", "switch", "firewall", "modem", "laptop", "desktop", "monitor", "printer", "scanner", "server",
    "database", "storage", "backup", "badge", "camera", "lock", "charger", "battery",
)  # fmt: skip
URGENCIES = (
    "everything stands still", "an outage for all", "a critical failure", "an emergency", "very urgent", "needed today",
    "blocking my team", "high priority", "fairly important", "needed this week", "medium priority",
    "a growing nuisance",
    "not urgent", "low priority", "whenever you can", "a small thing",
)  # fmt: skip
ISSUES = (
    "keeps restarting", "is completely dead", "makes a loud noise", "drops the connection", "shows a red light",
    "refuses my password",
    "is very slow", "gets too hot", "shows an error", "lost its settings", "does not start", "freezes every hour",
    "beeps all the time",
    "ignores every command", "smells burnt", "rejects the update",
)  # fmt: skip
PRODUCTS = (
    "desk lamps", "office chairs", "steel bolts", "paper rolls", "ink bottles", "oak tables", "wall clocks",
    "garden hoses",
    "safety gloves", "coffee cups", "tool boxes", "door handles", "cable drums", "paint cans", "water filters",
    "bike tyres",
)  # fmt: skip
PARTS = (
    "belt", "pump", "valve", "filter", "gear", "sensor", "motor", "fan", "bearing", "fuse", "hose", "seal",
)  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_ONSETS = (
    "V", "K", "M", "T", "L", "R", "S", "B", "D", "H", "N", "P", "F", "G", "W", "J", "St", "Br", "Kr", "Tr",
    "Sch", "Gr", "Bl",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ei", "au", "oo", "ie")
_CODAS = (
    "ss", "nd", "lt", "rg", "ck", "n", "r", "mm", "st", "ller", "ner", "vic", "ski", "sen", "ton", "field",
    "berg", "mann",
)  # fmt: skip
_MIDDLES = ("", "", "l", "r", "n", "t", "d", "k", "m", "v", "s", "b")

Draw = Callable[[Random], str]


def person(rng: Random) -> str:
    return f"{rng.choice(FIRST_NAMES)} {surname(rng)}"


def surname(rng: Random) -> str:
    """Made of syllables, so a reader has to copy it and cannot know it by heart."""
    middle = rng.choice(_MIDDLES)
    tail = middle + rng.choice(_VOWELS) if middle else ""
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + tail + rng.choice(_CODAS)


def company(rng: Random) -> str:
    return f"{surname(rng)} {rng.choice(('Ltd', 'GmbH', 'Group', 'Works', 'Trading', 'Foods', 'Motors', 'Labs'))}"


def asset(rng: Random) -> str:
    return f"{rng.choice(DEVICES)}-{rng.randint(100, 999)}"


def date(rng: Random) -> str:
    if rng.random() < 0.5:
        return f"{rng.randint(1, 28)} {rng.choice(MONTHS)}"
    return f"2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def amount(rng: Random) -> str:
    return f"{rng.randint(5, 4000)}.{rng.randint(0, 99):02d}"


def digits(low: int, high: int) -> Draw:
    return lambda rng: str(rng.randint(low, high))


def code(prefix: str, low: int, high: int) -> Draw:
    return lambda rng: f"{prefix}{rng.randint(low, high)}"


def one_of(values: tuple[str, ...]) -> Draw:
    return lambda rng: rng.choice(values)


@dataclass(frozen=True, slots=True)
class Field:
    """A thing a message may say: how to draw it, what people call it, the sentences that say it."""

    draw: Draw
    labels: tuple[str, ...]
    sentences: tuple[str, ...]
    number: bool = False  # a bare number in JSON


@dataclass(frozen=True, slots=True)
class Domain:
    name: str
    fields: Mapping[str, Field]
    joined: tuple[tuple[frozenset[str], str], ...]  # sentences that say several fields at once
    fillers: tuple[str, ...]


def joined(*sentences: str) -> tuple[tuple[frozenset[str], str], ...]:
    return tuple((frozenset(part.split("}")[0] for part in s.split("{")[1:]), s) for s in sentences)
