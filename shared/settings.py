"""Settings that every service shares, from the environment: where the data, the bus and the other services are.

`RATCHET_<NAME>` here; a service's own are `RATCHET_<SERVICE>_<NAME>_<UNIT>` in its `settings.py`. With nothing set,
everything runs embedded in `./data`. README's table is compared with these classes by a test.
"""

from pathlib import Path
from typing import Self
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import BadConfig
from shared.workloads import Deployment, read_deployment


class EnvironmentSettings(BaseSettings):
    """Base of every settings class: frozen, read from the environment, errors in the names people set."""

    model_config = SettingsConfigDict(env_prefix="RATCHET_", frozen=True, extra="ignore")

    @classmethod
    def load(cls) -> Self:
        try:
            return cls()
        except ValidationError as error:
            prefix = cls.model_config.get("env_prefix", "")
            lines = [
                f"{prefix}{'_'.join(str(p) for p in e['loc'])}".upper() + f"={e['input']!r}: {e['msg']}"
                for e in error.errors()
            ]
            raise BadConfig("\n".join(lines)) from error


class SharedSettings(EnvironmentSettings):
    config: Path = Field(Path("ratchet.toml"), description="the file that declares models and workloads")
    data_dir: Path = Field(Path("data"), description="folder of everything the embedded parts keep")
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the data folder")
    bus_url: str = Field("", description="sqlite:///... or kafka://host:port; empty: SQLite in the data folder")
    host: str = Field("127.0.0.1", description="address every service listens on")
    allowed_hosts: str = Field(
        "",
        description="further names the services answer to, comma-separated, such as `*.example.org`; `*`: any. "
        "Empty: only loopback names, or any when they listen on another address",
    )
    gateway_port: int = Field(8080, description="port of the gateway")
    model_server_port: int = Field(8081, description="port of the embedded model server")
    annotation_port: int = Field(8082, description="port of annotation and its desk")
    scheduler_port: int = Field(8083, description="port of the scheduler")
    promotion_port: int = Field(8084, description="port of promotion")
    upstream_urls: str = Field(
        "", description="model servers, comma-separated; empty: the embedded one. Named by model: name=url"
    )
    annotation_url: str = Field("", description="where annotation is reached; empty: this host")
    scheduler_url: str = Field("", description="where the scheduler is reached; empty: this host")
    promotion_url: str = Field("", description="where promotion is reached; empty: this host")
    gateway_url: str = Field("", description="where the gateway is reached; empty: this host")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("should be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    def deployment(self) -> Deployment:
        return read_deployment(self.config)

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{(self.data_dir / 'ratchet.db').resolve()}"

    @property
    def bus(self) -> str:
        return self.bus_url or f"sqlite://{quote(str((self.data_dir / 'bus.db').resolve()))}"

    @property
    def artifacts(self) -> Path:
        return (self.data_dir / "artifacts").resolve()

    def url_of(self, service: str) -> str:
        """`http://host:port` of a service, unless its RATCHET_<SERVICE>_URL says otherwise."""
        given = str(getattr(self, f"{service}_url", ""))
        return (given or f"http://{self.host}:{getattr(self, f'{service}_port')}").rstrip("/")

    def upstreams(self, model: str) -> list[str]:
        """The replicas that serve a base model (a name of [models]): those named for it, and those named for none."""
        if not self.upstream_urls:
            return [self.url_of("model_server")]
        urls = []
        for item in filter(None, (part.strip() for part in self.upstream_urls.split(","))):
            name, separator, url = item.partition("=")
            if not separator:
                urls.append(item.rstrip("/"))
            elif name == model:
                urls.append(url.rstrip("/"))
        return urls
