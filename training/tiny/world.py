"""Text-to-fields tasks of the tiny world: a short business message, an instruction, the one right answer.

Pure: the same seed gives the same task for ever. One text in sixteen, chosen by its hash alone, is `held_out`:
pretraining never sees it, the general suite is drawn only from it. The demo's house format (`house.py`) is not among
these formats.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from training.tiny.domains import DOMAINS
from training.tiny.words import Domain, Field

NEUTRAL_SYSTEM_PROMPTS = (
    "You are a careful assistant.", "You are a helpful assistant.", "Answer briefly.", "You read business messages.",
    "Be exact.", "You help in an office.", "Answer only with what was asked for.",
)  # fmt: skip
HELD_OUT_SHARE = 1 / 16

Chat = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Message:
    """One business message and what it says, by field name; what it leaves unsaid is not in `said`."""

    domain: Domain
    text: str
    said: dict[str, str]


@dataclass(frozen=True, slots=True)
class Task:
    kind: str  # the slice of the general suite
    instruction: str
    answer: str


Build = Callable[[Random, Message], tuple[str, str]]  # -> instruction, answer


@dataclass(frozen=True, slots=True)
class Asked:
    """A field under the label that the instruction uses for it; `value` None when the message does not say it."""

    label: str
    value: str | None
    field: Field


def draw_message(rng: Random, domain: Domain, said_count: tuple[int, int] = (3, 6)) -> Message:
    names = list(domain.fields)
    wanted = set(rng.sample(names, min(len(names), rng.randint(*said_count))))
    said = {name: domain.fields[name].draw(rng) for name in names if name in wanted}
    return Message(domain, compose(rng, domain, said), said)


def compose(rng: Random, domain: Domain, said: dict[str, str], joined_share: float = 0.6) -> str:
    """Sentences that say every field of `said` once, in random order, with up to two that say nothing."""
    left, sentences = set(said), []
    for fields, sentence in rng.sample(domain.joined, len(domain.joined)):
        if fields <= left and rng.random() < joined_share:
            sentences.append(sentence)
            left -= fields
    sentences += [rng.choice(domain.fields[name].sentences) for name in sorted(left)]
    sentences += rng.sample(domain.fillers, rng.choice((0, 0, 1, 1, 2)))
    rng.shuffle(sentences)
    return " ".join(sentence.format(**said) for sentence in sentences)


def held_out(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] < 256 * HELD_OUT_SHARE


def conversation(seed: str, *, want_held_out: bool, turns: int = 1, kind: str | None = None) -> tuple[str, Chat]:
    """The first task's kind, and a chat of `turns` tasks on one text; every assistant message is a right answer."""
    rng = Random(seed)
    message = draw_message(rng, rng.choice(DOMAINS))
    while held_out(message.text) != want_held_out:
        message = draw_message(rng, rng.choice(DOMAINS))
    tasks = [draw_task(rng, message, kind)] + [draw_task(rng, message) for _ in range(turns - 1)]
    chat = _opening(rng, message, tasks[0])
    for task in tasks[1:]:
        chat += [{"role": "user", "content": task.instruction}, {"role": "assistant", "content": task.answer}]
    return tasks[0].kind, chat


def draw_task(rng: Random, message: Message, kind: str | None = None) -> Task:
    kind = kind or rng.choices(list(_TASKS), weights=[weight for weight, _ in _TASKS.values()])[0]
    instruction, answer = _TASKS[kind][1](rng, message)
    return Task(kind, instruction, answer)


def _opening(rng: Random, message: Message, task: Task) -> Chat:
    """The instruction stands before the text, after it, or in the system prompt."""
    place, chat = rng.random(), []
    if place < 0.25:
        chat.append({"role": "system", "content": task.instruction})
        content = message.text
    else:
        if rng.random() < 0.5:
            chat.append({"role": "system", "content": rng.choice(NEUTRAL_SYSTEM_PROMPTS)})
        gap = rng.choice(("\n", "\n", "\n\n", " "))
        parts = (task.instruction, message.text) if place < 0.65 else (message.text, task.instruction)
        content = gap.join(parts)
    return [*chat, {"role": "user", "content": content}, {"role": "assistant", "content": task.answer}]


def _ask(rng: Random, message: Message, counts: tuple[int, int] = (1, 4), unsaid_share: float = 0.12) -> list[Asked]:
    """Some fields of the message in random order, now and then one that it does not say."""
    said = list(message.said)
    names = rng.sample(said, min(len(said), rng.randint(*counts)))
    unsaid = [name for name in message.domain.fields if name not in message.said]
    if unsaid and rng.random() < unsaid_share:
        names.insert(rng.randint(0, len(names)), rng.choice(unsaid))
    return [_asked(rng, message, name) for name in names]


def _asked(rng: Random, message: Message, name: str) -> Asked:
    field = message.domain.fields[name]
    return Asked(rng.choice(field.labels), message.said.get(name), field)


def _listed(rng: Random, labels: Sequence[str]) -> str:
    if len(labels) > 1 and rng.random() < 0.3:
        return ", ".join(labels[:-1]) + " and " + labels[-1]
    return ", ".join(labels)


def _shaped(templates: Sequence[str], line: Callable[[list[Asked]], str]) -> Build:
    """A task that names some fields in an instruction of many wordings and answers them in one shape."""

    def build(rng: Random, message: Message) -> tuple[str, str]:
        asked = _ask(rng, message)
        return rng.choice(templates).format(keys=_listed(rng, [a.label for a in asked])), line(asked)

    return build


def _text(asked: Asked) -> str:
    return "none" if asked.value is None else asked.value


def _json(asked: list[Asked]) -> str:
    return json.dumps({a.label: int(a.value) if a.field.number and a.value else a.value for a in asked})


def _question(rng: Random, message: Message) -> tuple[str, str]:
    asked = _ask(rng, message, (1, 1), unsaid_share=0)[0]
    wordings = (
        "What is the {0}?",
        "Which {0} is given?",
        "Tell me the {0}.",
        "{0}?",
        "Only the {0}, please.",
        "Find the {0}.",
    )
    return rng.choice(wordings).format(asked.label), _text(asked)


def _mentioned(rng: Random, message: Message) -> tuple[str, str]:
    name = rng.choice(list(message.domain.fields))
    wordings = (
        "Is the {0} given?",
        "Does the text say the {0}?",
        "Yes or no: is there a {0}?",
        "Can you see the {0} in it?",
    )
    asked = _asked(rng, message, name)
    return rng.choice(wordings).format(asked.label), "no" if asked.value is None else "yes"


def _sort(rng: Random, message: Message) -> tuple[str, str]:
    names = [domain.name for domain in DOMAINS]
    rng.shuffle(names)
    wordings = ("What kind of message is it: {0}?", "Choose one: {0}", "Is this one of {0}?", "Kind of message ({0})?")
    return rng.choice(wordings).format(", ".join(names)), message.domain.name


def _fill(rng: Random, message: Message) -> tuple[str, str]:
    asked = _ask(rng, message, (1, 3), unsaid_share=0)
    pieces = [rng.choice(("{0} is {{{0}}}", "{{{0}}}", "the {0}: {{{0}}}", "[{{{0}}}]")).format(a.label) for a in asked]
    form = rng.choice((", ", " / ", "; ", " - ")).join(pieces)
    wordings = ("Fill in: {0}", "Complete this form: {0}", "Use this form: {0}", "Put in the values: {0}")
    filled = form
    for a in asked:
        filled = filled.replace("{" + a.label + "}", _text(a))
    return rng.choice(wordings).format(form), filled


_TASKS: dict[str, tuple[float, Build]] = {  # kind -> how often, how to make one
    "json": (3, _shaped((
        "Return JSON with {keys}.", "Extract {keys} as JSON.", "json: {keys}",
        "Give me a JSON object with the keys {keys}.",
        "Read the message and answer in JSON: {keys}.", "As JSON, please: {keys}.",
        "Which {keys}? Answer as a JSON object.",
        "Make a JSON record of {keys}.",
    ), _json)),
    "lines": (2, _shaped((
        "List {keys}, one per line.", "Write {keys} as lines of key: value.", "lines: {keys}", "One line each: {keys}.",
        "Give {keys} line by line.",
    ), lambda asked: "\n".join(f"{a.label}: {_text(a)}" for a in asked))),
    "csv": (1.5, _shaped((
        "One CSV row of {keys}.", "csv: {keys}", "Give {keys} as a CSV row.", "Comma separated, please: {keys}.",
    ), lambda asked: ",".join(_text(a) for a in asked))),
    "bullets": (1.5, _shaped((
        "Bullet list of {keys}.", "Give {keys} as bullets.", "bullets: {keys}", "Bullet points for {keys}, please.",
    ), lambda asked: "\n".join(f"- {_text(a)}" for a in asked))),
    "tags": (1.5, _shaped((
        "Put {keys} in tags.", "XML tags for {keys}.", "tags: {keys}", "Mark {keys} up with tags.",
    ), lambda asked: "".join("<{0}>{1}</{0}>".format(a.label.replace(" ", "_"), _text(a)) for a in asked))),
    "pairs": (1.5, _shaped((
        "Give {keys} as key=value pairs.", "pairs: {keys}", "Write key=value for {keys}.", "Key=value, please: {keys}.",
    ), lambda asked: "; ".join(f"{a.label}={_text(a)}" for a in asked))),
    "table": (1, _shaped((
        "A table row of {keys}.", "table: {keys}", "Make a table row with {keys}.", "Row with {keys}, please.",
    ), lambda asked: "| " + " | ".join(_text(a) for a in asked) + " |")),
    "question": (2, _question),
    "fill": (1.5, _fill),
    "mentioned": (0.7, _mentioned),
    "sort": (0.4, _sort),
}  # fmt: skip
KINDS = tuple(_TASKS)
