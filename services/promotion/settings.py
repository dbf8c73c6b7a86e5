"""Promotion's own settings; those that every service shares are in shared/settings.py."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import EnvironmentSettings


class PromotionSettings(EnvironmentSettings):
    model_config = SettingsConfigDict(env_prefix="RATCHET_PROMOTION_", frozen=True, extra="ignore")

    reconcile_seconds: float = Field(10.0, gt=0, description="pause between two looks at every model server")
    work_seconds: float = Field(1.0, gt=0, description="pause between two looks at the candidates under way")
    replica_timeout_seconds: float = Field(3.0, gt=0, description="how long a model server may take to list its models")
    load_timeout_seconds: float = Field(60.0, gt=0, description="how long a model server may take to load an adapter")
    load_attempts: int = Field(20, ge=1, description="failed loads after which a promotion is given up")
    unload_after_seconds: float = Field(
        600.0, ge=0, description="how long an adapter that nobody needs stays on a model server"
    )
