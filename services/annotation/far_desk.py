"""The desk that a setting names, opened only where it is wanted: Argilla's SDK takes seconds to import."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from services.annotation.settings import DeskSettings
from shared.errors import BadConfig
from shared.workloads import Workload

if TYPE_CHECKING:
    from services.annotation.argilla_desk import ArgillaDesk


def far_desk(settings: DeskSettings, workloads: Mapping[str, Workload], annotation_url: str) -> "ArgillaDesk":
    """annotation_url: where Argilla reaches this service. Raises BadConfig.

    The desk is called when it is used for the first time, so it may be away now.
    """
    if not settings.url:
        raise BadConfig("RATCHET_DESK_URL is not set; experts work at annotation's own page, which needs no setup")
    if not settings.api_key:
        raise BadConfig("RATCHET_DESK_API_KEY is not set; give the API key of an owner of Argilla")
    from services.annotation.argilla_desk import ArgillaDesk

    return ArgillaDesk(
        settings.address,
        settings.api_key,
        settings.workspace,
        workloads,
        sweep_seconds=settings.sweep_seconds,
        webhook_url=webhook_url(annotation_url) if settings.webhook else None,
    )


def webhook_url(annotation_url: str) -> str:
    return f"{annotation_url}/v1/webhooks/argilla"
