"""The gateway's own settings, `RATCHET_GATEWAY_<NAME>_<UNIT>` in the environment."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import EnvironmentSettings

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class GatewaySettings(EnvironmentSettings):
    model_config = SettingsConfigDict(env_prefix="RATCHET_GATEWAY_", frozen=True, extra="ignore")

    spool_max_bytes: Count = Field(1 << 30, description="size of the local spool at which requests are refused (503)")
    plan_poll_seconds: Positive = Field(1.0, description="how often promotion is asked for a newer serving plan")
    max_body_bytes: int = Field(
        2 << 20, gt=0, le=3 << 20, description="largest request body; more is 413. A record of 4 MiB is the bus's limit"
    )
    max_answer_bytes: Count = Field(
        32 << 20, description="largest answer of a model server; more is 502, and so is one whose record is over 4 MiB"
    )
    max_concurrency: Count = Field(1000, description="requests in flight at which the next one is 429")
    body_timeout_seconds: Positive = Field(20.0, description="longest wait for a request's head, and for its body")
    connect_timeout_seconds: Positive = Field(2.0, description="longest wait for a connection to a model server")
    first_byte_timeout_seconds: Positive = Field(120.0, description="longest wait for a model server's first byte")
    idle_timeout_seconds: Positive = Field(60.0, description="longest silence of a model server in an answer")
    total_timeout_seconds: Positive = Field(600.0, description="longest time one answer may take")
    missing_version_patience_seconds: float = Field(
        2.0, ge=0, description="how long a version that no replica has loaded yet is asked for again before 503"
    )
    upstream_api_key: str = Field("", description="sent to the model servers as a bearer token; empty: none")
