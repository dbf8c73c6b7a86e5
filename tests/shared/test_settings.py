"""Settings come from the environment; a wrong one is told by the name people set."""

from pathlib import Path

import pytest

from shared.errors import BadConfig
from shared.settings import SharedSettings


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("RATCHET_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_with_nothing_set_everything_is_embedded_below_the_data_folder(tmp_path: Path) -> None:
    settings = SharedSettings.load()
    assert settings.database == f"sqlite:///{tmp_path}/data/ratchet.db"
    assert settings.bus == f"sqlite://{tmp_path}/data/bus.db"
    assert settings.artifacts == tmp_path / "data" / "artifacts"
    assert settings.host == "127.0.0.1"
    assert settings.url_of("promotion") == "http://127.0.0.1:8084"


def test_what_is_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_BUS_URL", "kafka://broker:9092")
    monkeypatch.setenv("RATCHET_DATABASE_URL", "postgresql://db/ratchet")
    monkeypatch.setenv("RATCHET_PROMOTION_URL", "http://promotion.internal/")
    settings = SharedSettings.load()
    assert settings.bus == "kafka://broker:9092"
    assert settings.database == "postgresql://db/ratchet"
    assert settings.url_of("promotion") == "http://promotion.internal"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RATCHET_GATEWAY_PORT", "eighty", r"RATCHET_GATEWAY_PORT='eighty': .*valid integer"),
        ("RATCHET_LOG_LEVEL", "LOUD", r"RATCHET_LOG_LEVEL='LOUD': .*DEBUG, INFO, WARNING or ERROR"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name_and_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadConfig, match=said):
        SharedSettings.load()


def test_upstreams_are_those_of_the_model_and_those_of_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SharedSettings.load().upstreams("tiny") == ["http://127.0.0.1:8081"]
    monkeypatch.setenv("RATCHET_UPSTREAM_URLS", "http://a:1/, tiny=http://b:2 ,other=http://c:3,")
    assert SharedSettings.load().upstreams("tiny") == ["http://a:1", "http://b:2"]
    assert SharedSettings.load().upstreams("other") == ["http://a:1", "http://c:3"]
