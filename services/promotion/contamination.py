"""Texts of the holdout that a training has seen, though under another id and in another group. Pure.

A text is an item's question and answer without the system prompt, as folded words. Three findings, each with one
training example:

identical        the same words.
13-gram          runs of 13 and more words in common hold at least 80 % of the item's own 3-grams, three or more.
near-duplicate   Jaccard of the word 3-grams >= 0.8, and of the own ones >= 0.7, three or more in common.

Own 3-grams are those that at most OWN_GROUPS training groups hold. What more of them hold is the form's wording: all
invoices share it, and it says nothing about this one. A copy shares its name, its number and its story too; the next
invoice to the same customer, the address alone. Groups are counted, so a text copied a hundred times makes no form.

Every pair that shares so many own 3-grams is compared, exactly: MinHash would estimate it, and miss some.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

OWN_GROUPS = 5
RUN = 13  # words; GPT-3's measure (Brown et al. 2020, appendix C)
COVERED = 0.8  # of the item; Llama 2's measure of a dirty sample (Touvron et al. 2023, A.6)
LEAST_OWN = 3  # a single rare word stands in three 3-grams
SIMILAR, SIMILAR_OWN = 0.8, 0.7
_SHOWN = 160  # characters of an excerpt

Kind = Literal["identical", "13-gram", "near-duplicate"]
# Scripts that do not put spaces between words count each character as one.
_WORD = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0eff\u3040-\u9fff]+")


@dataclass(frozen=True, slots=True)
class Text:
    id: str
    group: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """A holdout item, and the training example that it is nearest to."""

    kind: Kind
    item: str
    example: str
    similarity: float  # Jaccard of the word 3-grams
    shared: str  # the longest run of words in common, its beginning


def text_of(id: str, group: str, messages: Iterable[Mapping[str, Any]], answer: str = "") -> Text:
    said = [_said(m.get("content")) for m in messages if m.get("role") not in ("system", "developer")]
    folded = unicodedata.normalize("NFKC", "\n".join([*said, answer])).casefold()
    return Text(id, group, tuple(_WORD.findall(folded)))


def find_overlaps(training: Sequence[Text], held: Sequence[Text]) -> list[Overlap]:
    """At most one an item, the plainest: identical before 13-gram before near-duplicate; in the order of items' ids."""
    items = {text.id: text for text in held if text.words}
    examples = _Examples(training, set[int]().union(*(_grams(text.words) for text in items.values())))
    found = (examples.nearest(item) for item in items.values())
    return sorted((overlap for overlap in found if overlap), key=lambda o: o.item)


class _Examples:
    """The training side, by its own 3-grams."""

    def __init__(self, texts: Sequence[Text], asked: set[int]) -> None:
        """asked: the 3-grams that may be looked for; others need no place in the index."""
        self.texts = {text.words: text for text in reversed(texts) if text.words}
        self._grams = {words: _grams(words) for words in self.texts}
        by_group: dict[str, set[int]] = {}
        for text in texts:
            by_group.setdefault(text.group, set()).update(self._grams.get(text.words, ()))
        groups = Counter(gram for grams in by_group.values() for gram in grams)
        self._common = {gram for gram, count in groups.items() if count > OWN_GROUPS}
        self._holders: dict[int, list[tuple[str, ...]]] = {}
        for words, grams in self._grams.items():
            for gram in (grams & asked) - self._common:
                self._holders.setdefault(gram, []).append(words)

    def nearest(self, item: Text) -> Overlap | None:
        if (same := self.texts.get(item.words)) is not None:
            return Overlap("identical", item.id, same.id, 1.0, _excerpt(item.words))
        grams = _grams(item.words)
        own = grams - self._common
        enough = max(LEAST_OWN, min(COVERED, SIMILAR_OWN) * len(own))  # below it, it is neither of the two
        shared = Counter(words for gram in own for words in self._holders.get(gram, ()))
        found: list[tuple[bool, float, str, Overlap]] = []
        for words, count in shared.items():
            if count >= enough and (overlap := self._compared(item, grams, own, self.texts[words])):
                found.append((overlap.kind == "13-gram", overlap.similarity, overlap.example, overlap))
        return max(found)[-1] if found else None

    def _compared(self, item: Text, grams: set[int], own: set[int], example: Text) -> Overlap | None:
        others = self._grams[example.words]
        similarity = len(grams & others) / len(grams | others)
        runs = list(_runs(item.words, example.words))
        covered = set[int]().union(*(_grams(run) for run in runs)) & own
        if len(covered) >= max(LEAST_OWN, COVERED * len(own)):
            return Overlap("13-gram", item.id, example.id, similarity, _excerpt(max(runs, key=len)))
        either = own | (others - self._common)
        if similarity < SIMILAR or len(own & others) < SIMILAR_OWN * len(either):
            return None
        return Overlap("near-duplicate", item.id, example.id, similarity, _excerpt(item.words))


def _runs(item: tuple[str, ...], example: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The item's stretches of RUN and more words, each of whose RUN-grams stands in the example."""
    known = {example[i : i + RUN] for i in range(len(example) - RUN + 1)}
    start = end = -1
    for place in range(len(item) - RUN + 1):
        if item[place : place + RUN] not in known:
            continue
        if place > end - RUN + 1:  # not the next of the stretch before
            if start >= 0:
                yield item[start:end]
            start = place
        end = place + RUN
    if start >= 0:
        yield item[start:end]


def _grams(words: tuple[str, ...]) -> set[int]:
    return set(map(hash, zip(words, words[1:], words[2:], strict=False))) or {hash(words)}


def _said(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _excerpt(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
