"""Annotation's own settings, `RATCHET_ANNOTATION_<NAME>_<UNIT>`."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import EnvironmentSettings


class AnnotationSettings(EnvironmentSettings):
    model_config = SettingsConfigDict(env_prefix="RATCHET_ANNOTATION_", frozen=True, extra="ignore")

    desk_interval_seconds: float = Field(1.0, gt=0, description="how often nominated samples go to the desk")
    hold_seconds: float = Field(300.0, ge=0, description="how long an item shown to one annotator is kept from others")
    max_body_bytes: int = Field(1_000_000, ge=1000, description="largest request body; larger ones get 413")
