from dataclasses import replace

import pytest

from services.promotion.audit import GENESIS, Edge, hash_of, verify_chain

Row = tuple[Edge, str, str]


def chain(count: int) -> list[Row]:
    rows: list[Row] = []
    previous = GENESIS
    for n in range(count):
        edge = Edge(f"2026-11-20T10:00:{n:02}Z", "triage", f"triage@{n:016x}", "NEW", "CANDIDATE", "ratchet", "trained")
        rows.append((edge, previous, hash_of(previous, edge)))
        previous = rows[-1][2]
    return rows


def test_a_chain_as_it_was_written_is_whole() -> None:
    assert verify_chain(chain(5)) is None
    assert verify_chain([]) is None


@pytest.mark.parametrize("field", ["at", "workload", "version", "before", "after", "who", "why"])
def test_a_changed_field_is_found(field: str) -> None:
    rows = chain(5)
    rows[2] = (replace(rows[2][0], **{field: "forged"}), *rows[2][1:])
    assert "row 3" in (verify_chain(rows) or "")


def test_a_missing_row_is_found() -> None:
    rows = chain(5)
    assert "missing or moved" in (verify_chain(rows[:2] + rows[3:]) or "")
    assert "row 1" in (verify_chain(rows[1:]) or "")


def test_a_moved_row_is_found() -> None:
    rows = chain(5)
    rows[1], rows[2] = rows[2], rows[1]
    assert verify_chain(rows) is not None


def test_a_changed_row_with_a_new_hash_of_its_own_breaks_the_next() -> None:
    rows = chain(3)
    forged = replace(rows[1][0], who="somebody else")
    rows[1] = (forged, rows[1][1], hash_of(rows[1][1], forged))
    assert "row 3" in (verify_chain(rows) or "")
