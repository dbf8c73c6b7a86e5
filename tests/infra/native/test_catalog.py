from pathlib import Path

import pytest

from infra.native.catalog import SERVERS, chosen, leaves_first
from infra.native.server import Place
from infra.native.settings import StackSettings
from shared.errors import BadConfig

WITHOUT_VLLM_MB, WITH_VLLM_MB = 3 * 1024, 7 * 1024


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.of(StackSettings(dir=tmp_path))


def names(place: Place, only: str = "", beside: str = "") -> list[str]:
    return [s.name for s in chosen(place, only=only.split(), beside=beside.split())]


def test_a_choice_brings_what_it_needs_in_the_order_of_a_start(place: Place) -> None:
    assert names(place, only="argilla") == ["postgres", "redis", "opensearch", "argilla"]


def test_vllm_runs_only_when_it_is_asked_for(place: Place) -> None:
    assert set(names(place)) == set(SERVERS) - {"vllm"}
    assert set(names(place, beside="vllm")) == set(SERVERS)
    assert names(place, only="vllm") == ["vllm"]


def test_an_unknown_server_is_refused_with_those_there_are(place: Place) -> None:
    with pytest.raises(BadConfig, match=r"no server kafkaa; there are kafka, postgres"):
        names(place, only="kafkaa")


def test_nobody_is_stopped_before_those_who_need_it(place: Place) -> None:
    left, stopped = chosen(place), []
    while left:
        wave = leaves_first(left)
        stopped.append({s.name for s in wave})
        left = [s for s in left if s not in wave]
    order = {name: i for i, wave in enumerate(stopped) for name in wave}
    assert all(order[s.name] < order[need] for s in chosen(place) for need in s.needs)


def test_the_servers_shares_of_memory_keep_to_the_budget(place: Place) -> None:
    assert sum(s.memory_mb for s in chosen(place)) <= WITHOUT_VLLM_MB
    assert sum(s.memory_mb for s in chosen(place, beside=["vllm"])) <= WITH_VLLM_MB


def test_every_server_listens_on_loopback_only(place: Place) -> None:
    for server in chosen(place, beside=["vllm"]):
        assert "0.0.0.0" not in " ".join(map(str, server.command))


def test_no_password_is_in_a_command_where_every_process_could_read_it(place: Place) -> None:
    secrets = [v for f in place.credentials.__dataclass_fields__ if (v := getattr(place.credentials, f))]
    for server in chosen(place, beside=["vllm"]):
        assert not any(secret in str(word) for word in server.command for secret in secrets)
