"""Every check of `ratchet doctor`, made from the settings and run side by side."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.cli.doctor import bus, configuration, database, desk, machine, monitoring, services, serving
from services.cli.doctor.findings import Check, Finding, misconfigured, without_secrets
from services.cli.settings import DoctorSettings
from services.cli.supervisor import SERVICES
from shared.errors import BadConfig
from shared.settings import EnvironmentSettings, SharedSettings
from shared.workloads import Deployment


class _Seen(EnvironmentSettings):
    """Settings of other services, described where they are used: the doctor only needs their values."""

    model_config = SettingsConfigDict(env_prefix="RATCHET_", frozen=True, extra="ignore")

    desk_url: str = ""
    desk_api_key: str = Field("", repr=False)
    desk_workspace: str = "ratchet"
    gateway_upstream_api_key: str = Field("", repr=False)


def examine(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """What all checks found, in the order of `checks`; no secret is in it."""
    try:
        settings, seen, own = SharedSettings.load(), _Seen.load(), DoctorSettings.load()
    except BadConfig as error:
        return [misconfigured("settings", str(error), "README lists what each takes")]
    todo = checks(settings, seen, own, environment)
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="doctor") as pool:
        found = [finding for findings in pool.map(Check.findings, todo) for finding in findings]
    return list(without_secrets(found, environment))


def checks(settings: SharedSettings, seen: _Seen, own: DoctorSettings, environment: Mapping[str, str]) -> list[Check]:
    deployment = _deployment(settings)
    urls = {name: settings.url_of(name) for name in SERVICES if name != "model_server" or not settings.upstream_urls}
    consumers = {name: url for name, url in urls.items() if name in ("annotation", "scheduler", "promotion")}
    found = [
        Check("ratchet.toml", partial(configuration.declared, settings)),
        Check("settings", partial(configuration.meaning, settings)),
        Check("settings", partial(configuration.misspelt, environment)),
        Check("disk", lambda: [machine.room(settings.data_dir)]),
        Check("data folder", lambda: [machine.privacy(settings.data_dir)]),
        Check("ports", partial(machine.exposed, urls, settings.host, machine.reached_from_elsewhere)),
        Check("database", partial(database.database, settings.database)),
        Check("bus", partial(bus.bus, settings.bus)),
        *(Check(name, partial(services.service, name, url)) for name, url in urls.items()),
        Check("spool", partial(services.spool, settings.url_of("gateway"))),
        *(Check("lag", partial(services.lag, name, url)) for name, url in consumers.items()),
        *(Check("dead letters", partial(services.dead_letters, url, name)) for name, url in consumers.items()),
    ]
    if deployment is not None:
        workloads = sorted(deployment.workloads)
        key = seen.gateway_upstream_api_key
        found += [
            Check("model servers", partial(serving.upstreams, settings, deployment, key)),
            Check("desk", partial(desk.desk, seen.desk_url, seen.desk_api_key, seen.desk_workspace, workloads)),
        ]
    return [
        *found,
        Check("Prometheus", partial(monitoring.prometheus, own.prometheus_url, list(urls))),
        Check("Alertmanager", partial(monitoring.alertmanager, own.alertmanager_url)),
    ]


def _deployment(settings: SharedSettings) -> Deployment | None:
    try:
        return settings.deployment()
    except BadConfig:
        return None  # that it is bad is a finding of its own
