"""Settings of the `ratchet` command itself: what only `ratchet doctor` asks."""

from pydantic import Field

from shared.settings import EnvironmentSettings


class DoctorSettings(EnvironmentSettings):
    prometheus_url: str = Field("", description="where `ratchet doctor` reaches Prometheus; empty: it does not look")
    alertmanager_url: str = Field(
        "", description="where `ratchet doctor` reaches Alertmanager; empty: it does not look"
    )
