"""Identifiers sort by time, and a version's name says whose it is."""

import time
import uuid

import pytest

from shared.ids import base_version_name, first_uuid7_at, uuid7, version_name, workload_of


def test_ids_are_uuids_of_version_7() -> None:
    for _ in range(200):
        parsed = uuid.UUID(uuid7())
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_ids_sort_by_the_time_they_were_made() -> None:
    first = uuid7()
    deadline = time.time() + 0.002
    while time.time() < deadline:
        pass
    assert first < uuid7()
    assert abs(int(first.replace("-", "")[:12], 16) / 1000 - time.time()) < 5


def test_the_first_id_of_a_moment_parts_what_was_before_from_what_came_after() -> None:
    assert first_uuid7_at(time.time() - 1) < uuid7() < first_uuid7_at(time.time() + 1)
    assert uuid.UUID(first_uuid7_at(1.5)).version == 7


def test_a_version_s_name_leads_back_to_its_workload() -> None:
    digest = "3f2a9c01d4e5b6a7" + "0" * 48
    assert version_name("support-triage", digest) == "support-triage@3f2a9c01d4e5b6a7"
    assert workload_of(version_name("support-triage", digest)) == "support-triage"
    assert workload_of(base_version_name("w", digest)) == "w"


NO_VERSIONS = ["", "support-triage", "w@", "w@123", "w@base-xyz", "W@3f2a9c01d4e5b6a7", "../w@3f2a9c01d4e5b6a7"]


@pytest.mark.parametrize("text", [*NO_VERSIONS, "w@3F2A9C01D4E5B6A7", "w@3f2a9c01d4e5b6a7\n"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="should look like"):
        workload_of(text)
