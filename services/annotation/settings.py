"""Annotation's own settings, `RATCHET_ANNOTATION_<NAME>_<UNIT>`."""

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import EnvironmentSettings


class AnnotationSettings(EnvironmentSettings):
    model_config = SettingsConfigDict(env_prefix="RATCHET_ANNOTATION_", frozen=True, extra="ignore")

    desk_interval_seconds: float = Field(1.0, gt=0, description="how often nominated samples go to the desk")
    hold_seconds: float = Field(300.0, ge=0, description="how long an item shown to one annotator is kept from others")
    max_body_bytes: int = Field(1_000_000, ge=1000, description="largest request body; larger ones get 413")


class DeskSettings(EnvironmentSettings):
    """Where the experts work; `RATCHET_DESK_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="RATCHET_DESK_", frozen=True, extra="ignore")

    url: str = Field("", description="argilla+http://host:port; empty: the desk that annotation itself shows")
    api_key: str = Field("", repr=False, description="API key of an owner of Argilla")
    workspace: str = Field(
        "ratchet", min_length=1, description="the annotators' workspace; the reviewers' has `-review` behind it"
    )
    webhook: bool = Field(True, description="whether Argilla tells annotation to look at once (annotation's URL)")
    sweep_seconds: float = Field(300.0, gt=0, description="how often Argilla's database is read beside its index")

    @field_validator("url")
    @classmethod
    def _is_a_known_desk(cls, value: str) -> str:
        if value and not value.startswith(("argilla+http://", "argilla+https://")):
            raise ValueError("should be argilla+http://host:port or argilla+https://host:port")
        return value.rstrip("/")

    @property
    def address(self) -> str:
        return self.url.removeprefix("argilla+")
