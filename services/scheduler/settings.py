"""The scheduler's own settings: `RATCHET_SCHEDULER_<NAME>_<UNIT>`."""

from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import EnvironmentSettings


class SchedulerSettings(EnvironmentSettings):
    model_config = SettingsConfigDict(env_prefix="RATCHET_SCHEDULER_", frozen=True, extra="ignore")

    max_running: int = Field(1, ge=1, description="jobs that may run at the same time on this deployment's device")
    max_attempts: int = Field(3, ge=1, description="attempts of a job before it is reported as failed")
    lease_seconds: float = Field(15.0, gt=0, description="how long a silent worker keeps a job")
    heartbeat_seconds: float = Field(3.0, gt=0, description="how often a worker renews its lease")
    poll_seconds: float = Field(0.5, gt=0, description="how often the runner looks for work when nobody wakes it")
    tick_seconds: float = Field(2.0, gt=0, description="how often the triggers are looked at")
    retry_seconds: float = Field(2.0, ge=0, description="pause before a second attempt; doubles each time")
    resources_retry_seconds: float = Field(
        30.0, ge=0, description="the same after a child ran out of memory or disk; doubles each time"
    )
    silence_seconds: float = Field(
        3600.0, gt=0, description="a child that shows no progress for so long is ended and tried again"
    )
    alert_token: str = Field(
        "", description="the bearer token that POST /v1/alerts asks Alertmanager for; empty: it asks for none"
    )
    max_body_bytes: int = Field(1_000_000, ge=1000, description="largest request body; a larger one gets 413")
    stop_grace_seconds: float = Field(5.0, ge=0, description="time a child has to end before it is killed")
    nice: int = Field(5, ge=0, le=19, description="how much a child steps back behind the services (Unix nice)")
    train_command: str = Field("", description="program of a training; empty: python -m training.run")
    evaluate_command: str = Field("", description="program of an evaluation; empty: python -m training.evaluate")

    @field_validator("alert_token")
    @classmethod
    def _fits_a_header(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ValueError("should be printable ASCII without spaces around it, as a header can carry it")
        return value

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> Self:
        if self.lease_seconds < 3 * self.heartbeat_seconds:
            raise ValueError(
                f"lease_seconds is {self.lease_seconds} and heartbeat_seconds {self.heartbeat_seconds}: a lease should "
                "last at least three heartbeats, or one slow write gives the job away"
            )
        return self
