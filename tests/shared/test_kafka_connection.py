"""The URL of a cluster: what it asks of the client, and what is refused before anything connects."""

from pathlib import Path

import pytest

from shared.errors import BadConfig
from shared.kafka_bus import Cluster


def test_a_user_asks_for_sasl_over_tls() -> None:
    cluster = Cluster.of_url("kafka://ratchet:p%40ss%2Fword@one:9093,two:9093?prefix=a.")
    assert cluster.servers == ("one:9093", "two:9093")
    assert cluster.client["security_protocol"] == "SASL_SSL"
    assert cluster.client["sasl_mechanism"] == "PLAIN"
    assert cluster.client["sasl_plain_username"] == "ratchet"
    assert cluster.client["sasl_plain_password"] == "p@ss/word"
    assert "p@ss" not in repr(cluster)


def test_options_choose_another_mechanism_and_authority(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("")
    client = Cluster.of_url(f"kafka://u:p@one:9093?sasl_mechanism=SCRAM-SHA-512&ssl_cafile={authority}").client
    assert (client["sasl_mechanism"], client["ssl_cafile"]) == ("SCRAM-SHA-512", str(authority))


def test_without_a_user_nothing_is_asked_of_the_client() -> None:
    assert "security_protocol" not in Cluster.of_url("kafka://one:9092").client


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kafka://one:9092?security_protocol=TLS", "none of PLAINTEXT, SSL"),
        ("kafka://one:9092?security_protocol=SASL_SSL", "needs a user"),
        ("kafka://one:9092?ssl_cafile=/etc/hosts", "needs security_protocol"),
        ("kafka://u:p@one:9092?security_protocol=SASL_PLAINTEXT&ssl_cafile=/etc/hosts", "needs security_protocol"),
        ("kafka://u:p@one:9092?ssl_cafile=/nowhere.pem", "no file"),
    ],
)
def test_half_a_security_is_refused(url: str, said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        Cluster.of_url(url)


def test_a_refusal_does_not_tell_the_password() -> None:
    with pytest.raises(BadConfig) as refused:
        Cluster.of_url("kafka://ratchet:secret@one:port")
    assert "secret" not in str(refused.value)
    assert "one:port" in str(refused.value)
