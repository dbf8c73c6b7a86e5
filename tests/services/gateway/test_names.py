"""The gateway's pages answer to its own names only."""

from tests.services.gateway.conftest import GatewayProcess


def test_a_page_that_rebinds_its_name_reads_nothing_here(gateway: GatewayProcess) -> None:
    refused = gateway.client.get("/v1/status", headers={"host": f"evil.example:{gateway.port}"})
    assert refused.status_code == 421
    assert "RATCHET_ALLOWED_HOSTS" in refused.json()["detail"]
    assert gateway.client.get("/v1/status", headers={"host": f"localhost:{gateway.port}"}).status_code == 200
