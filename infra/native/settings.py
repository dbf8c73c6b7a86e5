"""Where the stack keeps its files, which ports its servers take, and how much memory the Java ones get.

`RATCHET_STACK_<NAME>`; the defaults are meant not to meet a server that is already on the machine.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import EnvironmentSettings

HOST = "127.0.0.1"
Where = Callable[[str], str]  # a server's name -> host:port


class StackSettings(EnvironmentSettings):
    model_config = SettingsConfigDict(env_prefix="RATCHET_STACK_", frozen=True, extra="ignore")

    dir: Path = Field(Path("data/stack"), description="folder of the servers' data, logs and passwords")
    servers_dir: Path | None = Field(None, description="folder of what was installed; empty: servers in that folder")
    kafka_port: int = Field(19092, description="Kafka's port for clients")
    kafka_controller_port: int = Field(19094, description="Kafka's port for its own controller")
    postgres_port: int = Field(15432, description="PostgreSQL's port")
    redis_port: int = Field(16379, description="Redis' port")
    opensearch_port: int = Field(19200, description="OpenSearch's port")
    opensearch_transport_port: int = Field(19300, description="OpenSearch's port between nodes")
    argilla_port: int = Field(16900, description="Argilla's port: pages and API")
    prometheus_port: int = Field(19090, description="Prometheus' port")
    alertmanager_port: int = Field(19093, description="Alertmanager's port")
    vllm_port: int = Field(18000, description="vLLM's port")
    prometheus_rules: Path | None = Field(None, description="folder of Prometheus' rules; empty: those in infra")
    kafka_heap_mb: int = Field(512, ge=256, description="heap of Kafka's Java machine")
    opensearch_heap_mb: int = Field(384, ge=256, description="heap of OpenSearch's Java machine")
    vllm_model: str = Field("", description="folder of the model vLLM serves; needed for `--with vllm`")
    vllm_served_name: str = Field("base", description="what vLLM calls that model")
    vllm_max_length: int = Field(256, ge=16, description="longest prompt with answer, in tokens")
    vllm_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of vLLM's weights and cache; auto makes bfloat16 of a float32 model"
    )

    @field_validator("servers_dir", "prometheus_rules", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value  # else the folder where the command is typed

    @model_validator(mode="after")
    def _ports_differ(self) -> "StackSettings":
        seen: dict[int, str] = {}
        for name, value in self.ports().items():
            if not 1 <= value <= 65535:
                raise ValueError(f"RATCHET_STACK_{name.upper()} is {value}; a port is 1 to 65535")
            if value in seen:
                raise ValueError(f"{seen[value]} and {name} are both {value}; set RATCHET_STACK_{name.upper()}")
            seen[value] = name
        return self

    def as_words(self) -> dict[str, str]:
        """Each setting as one would write it in the environment, folders from the root."""
        words = {name: getattr(self, name) for name in type(self).model_fields}
        return {n: "" if v is None else str(v.resolve() if isinstance(v, Path) else v) for n, v in words.items()}

    def at(self, server: str) -> str:
        """Where a server of the native stack listens, as host:port."""
        return f"{HOST}:{getattr(self, f'{server}_port')}"

    def ports(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in type(self).model_fields if name.endswith("_port")}
