"""Which prompts mean the same, and on which side of the holdout border they live: decided by the prompt alone.

Pure. A prompt's group key is the opening of its conversation, folded (NFKC, case, white space, and digits where the
workload says so), or the key the application sends. The split is a hash of the key that opened the group, so nothing
that happens later, and no answer, can move a group. Near-duplicates are found with MinHash bands and verified exactly.
The hash functions are written out here because bands and splits are kept for ever: they may never change.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shared.workloads import Grouping

Split = Literal["train", "holdout"]
Shingles = npt.NDArray[np.uint64]  # (n,) sorted distinct hashes of word 3-grams

OPENING_WORDS = 5  # "hi" opens nothing: turns are added until a conversation's opening has this many words
SKETCH_SIZE = 4096  # above as many shingles only the smallest hashes are kept; Jaccard is then good to about 0.01
PERMUTATIONS = 128
RECALL = 0.98  # of pairs exactly at the threshold; the more alike, the closer to 1
BUCKET_GROUPS = 64  # a band that so many groups share says nothing and would make every lookup slow

_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
# Scripts that do not put spaces between words count each character as one.
_WORD = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0eff\u3040-\u9fff]+")


@dataclass(frozen=True, slots=True)
class GroupKey:
    text: str
    from_application: bool  # then nothing near it joins: the application has said what belongs together

    @property
    def digest(self) -> str:
        """24 hex digits that stand for the text, so that the text itself needs no second home."""
        origin = "application" if self.from_application else "prompt"
        return hashlib.sha256(f"{origin}\0{self.text}".encode("utf-8", "surrogatepass")).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stored prompt that may be a near-duplicate."""

    group_id: str
    split: Split
    shingles: Shingles
    straddles: bool = False  # then it is shown to nobody


@dataclass(frozen=True, slots=True)
class Joining:
    """The group a prompt joins; None: it opens its own."""

    neighbour: Neighbour | None
    straddles: bool  # it resembles prompts on both sides of the border, so it may teach and test nothing


def group_key(messages: Sequence[Mapping[str, Any]], group: str | None, grouping: Grouping) -> GroupKey:
    """group: metadata.group of the request. Where a request lacks it, the prompt decides."""
    if grouping.key == "metadata.group" and group and group.strip():
        return GroupKey(group.strip(), from_application=True)
    text = folded(_opening(messages))
    return GroupKey(_NUMBER.sub("0", text) if grouping.ignore_digits else text, from_application=False)


def whole_key(messages: Sequence[Mapping[str, Any]], grouping: Grouping) -> GroupKey:
    """All that was asked, folded like a group's key: what two conversations with different group keys may share."""
    text = folded("\n".join(text_of(m.get("content")) for m in asked(messages)))
    return GroupKey(_NUMBER.sub("0", text) if grouping.ignore_digits else text, from_application=False)


def question(messages: Sequence[Mapping[str, Any]]) -> str:
    """Identity of what was asked: the whole conversation, folded. Digits matter: 5 kg and 50 kg are two questions.

    The system prompt is left out, so a correction still supersedes the former one after the house rules were reworded;
    where nothing else was said, it is the question.
    """
    turns = [(m.get("role"), folded(text_of(m.get("content")))) for m in asked(messages)]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()[:24]


def asked(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The turns that say something and are not the system's; all messages when there is no such turn."""
    turns = [m for m in messages if m.get("role") not in ("system", "developer")]
    return turns if any(text_of(m.get("content")).strip() for m in turns) else list(messages)


def split_of(group_digest: str, holdout_share: float) -> Split:
    """holdout_share: 0-1. Salted, so that no other hash of the same text goes the same way."""
    return "holdout" if share_of(f"split\0{group_digest}") < holdout_share else "train"


def share_of(text: str) -> float:
    """A number in [0, 1) that looks random and is the same for ever."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def numbers_in(text: str) -> list[str]:
    return _NUMBER.findall(unicodedata.normalize("NFKC", text))


def text_of(content: Any) -> str:
    """A message's content as text; parts that are not text (images) stand as their JSON, so they count in hashes."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return json.dumps(content, sort_keys=True)
    return "\n".join(
        part["text"]
        if isinstance(part, dict) and isinstance(part.get("text"), str)
        else json.dumps(part, sort_keys=True)
        for part in content
    )


def shingles_of(text: str) -> Shingles:
    """Word 3-grams of a folded text, hashed; at most SKETCH_SIZE, the smallest."""
    words = _WORD.findall(text) or [text]
    grams = {" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}
    digests = b"".join(hashlib.blake2b(g.encode("utf-8", "surrogatepass"), digest_size=8).digest() for g in grams)
    return np.unique(np.frombuffer(digests, dtype="<u8").astype(np.uint64))[:SKETCH_SIZE]


def similarities(one: Shingles, others: Sequence[Shingles]) -> list[float]:
    """Jaccard with each of the others, in one pass over all of them."""
    if not others:
        return []
    if max(len(one), *map(len, others)) >= SKETCH_SIZE:
        return [_sketched_similarity(one, other) for other in others]
    everything = np.concatenate(others)
    places = np.minimum(np.searchsorted(one, everything), len(one) - 1)
    sizes = np.array([len(other) for other in others])
    common = np.add.reduceat(one[places] == everything, np.cumsum(sizes) - sizes, dtype=np.int64)
    return [float(share) for share in common / (len(one) + sizes - common)]


def _sketched_similarity(a: Shingles, b: Shingles) -> float:
    """Jaccard estimated on the smallest hashes of the union, of which a cut set still holds all."""
    union = np.union1d(a, b)[:SKETCH_SIZE]
    common = np.intersect1d(a, b, assume_unique=True)
    return float(np.isin(union, common, assume_unique=True).sum() / len(union))


def band_rows(threshold: float) -> int:
    """How many MinHash values make one band: the most that still finds RECALL of the pairs at the threshold."""
    for rows in range(16, 1, -1):
        if 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= RECALL:
            return rows
    return 1


def bands_of(shingles: Shingles, rows: int) -> list[int]:
    """Signed 64-bit keys; two prompts that share one are candidates. Source: Broder 1997, Leskovec et al. ch. 3."""
    values = (shingles[:, None] * _FACTORS + _OFFSETS).min(axis=0)  # (PERMUTATIONS,) uint64, wraps around
    chunks = (values[i : i + rows].astype("<u8").tobytes() for i in range(0, PERMUTATIONS - rows + 1, rows))
    return [
        _signed(hashlib.blake2b(chunk, digest_size=8, salt=bytes([n, rows])).digest()) for n, chunk in enumerate(chunks)
    ]


def joining(shingles: Shingles, neighbours: Iterable[Neighbour], threshold: float) -> Joining:
    """The most similar neighbour at or above the threshold; ties go to the smaller group id."""
    near = _near(shingles, neighbours, threshold)
    if not near:
        return Joining(None, straddles=False)
    _, nearest = min(near, key=lambda item: (-item[0], item[1].group_id))
    return Joining(nearest, straddles=len({n.split for _, n in near}) > 1)


def crosses(shingles: Shingles, neighbours: Iterable[Neighbour], threshold: float, split: Split) -> bool:
    """Whether a prompt of this side resembles one that the other side may show."""
    return any(n.split != split and not n.straddles for _, n in _near(shingles, neighbours, threshold))


def _near(shingles: Shingles, neighbours: Iterable[Neighbour], threshold: float) -> list[tuple[float, Neighbour]]:
    candidates = list(neighbours)
    scores = similarities(shingles, [n.shingles for n in candidates])
    return [(score, n) for score, n in zip(scores, candidates, strict=True) if score >= threshold]


def _opening(messages: Sequence[Mapping[str, Any]]) -> str:
    """The user's turns up to the first that make OPENING_WORDS words: all later turns of a conversation share them."""
    turns = [text_of(m.get("content")) for m in messages if m.get("role") == "user"]
    taken: list[str] = []
    for turn in turns if any(map(str.strip, turns)) else [text_of(m.get("content")) for m in asked(messages)]:
        taken.append(turn)
        if sum(len(_WORD.findall(text)) for text in taken) >= OPENING_WORDS:
            break
    return "\n".join(taken)


def _signed(digest: bytes) -> int:
    return int.from_bytes(digest, "little", signed=True)


def _constants(name: str) -> npt.NDArray[np.uint64]:
    digests = b"".join(hashlib.blake2b(f"{name}{i}".encode(), digest_size=8).digest() for i in range(PERMUTATIONS))
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


_FACTORS = _constants("factor") | np.uint64(1)  # odd: the map h -> a h + b mod 2^64 is then a permutation
_OFFSETS = _constants("offset")
