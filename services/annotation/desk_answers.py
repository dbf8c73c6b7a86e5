"""What annotators' responses say, as verdicts. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.annotation.curation import Reason, VerdictWord
from services.annotation.desk import Source, Verdict

ANSWERED = ("submitted", "discarded")


def verdicts_in(records: Iterable[Mapping[str, Any]], names: Mapping[str, str], *, final: bool) -> Iterator[Verdict]:
    """Of records with their responses. names: who a user id is; final: these are reviewers, whose word counts.

    Drafts say nothing yet.
    """
    for record in records:
        for response in record.get("responses") or ():
            if response["status"] in ANSWERED and record.get("external_id"):
                yield _verdict(str(record["external_id"]), response, names, final)


def oldest_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    return sorted(verdicts, key=lambda v: (v.source.changed_at, v.source.response_id) if v.source else ("", ""))


def _verdict(sample_id: str, response: Mapping[str, Any], names: Mapping[str, str], final: bool) -> Verdict:
    values = {name: given.get("value") for name, given in (response.get("values") or {}).items()}
    ideal, comment = values.get("ideal"), values.get("comment")
    user_id = str(response["user_id"])
    return Verdict(
        sample_id=sample_id,
        verdict=_word(response["status"], values.get("verdict")),
        ideal=ideal if isinstance(ideal, str) else None,
        reasons=frozenset(Reason(r) for r in values.get("reasons") or () if r in list(Reason)),
        annotator=names.get(user_id, user_id),
        comment=(comment.strip() or None) if isinstance(comment, str) else None,
        source=Source(str(response["id"]), str(response["updated_at"]), final),
    )


def _word(status: str, value: Any) -> VerdictWord:
    """The button that discards wins over whatever label was chosen before it was pressed."""
    if status == "discarded":
        return "discard"
    return "good" if value == "good" else "fix"
