"""The settings and ratchet.toml: whether they can be used, and what they come to."""

import difflib
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from services.cli.doctor.findings import Finding, look, misconfigured, ok
from services.cli.doctor.setting_names import NAMES
from shared.errors import BadConfig
from shared.settings import SharedSettings

PREFIX = "RATCHET_"


def declared(settings: SharedSettings) -> Iterator[Finding]:
    """ratchet.toml, with every mistake in it."""
    name = "ratchet.toml"
    try:
        deployment = settings.deployment()
    except BadConfig as error:
        yield misconfigured(name, str(error), "mend the file; `ratchet init FOLDER` writes a commented one to compare")
        return
    workloads = ", ".join(sorted(deployment.workloads))
    yield ok(name, f"{settings.config}: workloads {workloads}; models {', '.join(sorted(deployment.models))}")


def meaning(settings: SharedSettings) -> Iterator[Finding]:
    """What is embedded and what is a server; combinations that cannot be meant."""
    name = "settings"
    bus, database = urlsplit(settings.bus).scheme, urlsplit(settings.database).scheme
    if bus not in ("sqlite", "kafka"):
        yield misconfigured(name, f"RATCHET_BUS_URL begins with {bus or 'nothing'}", "sqlite:/// or kafka://host:port")
        return
    parts = [
        "the bus is " + ("Kafka" if bus == "kafka" else "embedded"),
        "the database is " + ("embedded (SQLite)" if database.startswith("sqlite") else database.partition("+")[0]),
        "models are served by " + ("the embedded server" if not settings.upstream_urls else settings.upstream_urls),
    ]
    yield ok(name, "; ".join(parts))
    if (bus == "kafka") == database.startswith("sqlite"):
        yield look(
            name,
            "one of bus and database is embedded, the other a server",
            "fine on one machine; the embedded one cannot be shared by two, so set both RATCHET_BUS_URL and "
            "RATCHET_DATABASE_URL before a second machine joins",
        )


def misspelt(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that look like settings and are none: a misspelt one is silently its default."""
    names = [name.removeprefix(PREFIX) for name in NAMES]
    for variable in sorted(environment):
        name = variable.upper()  # settings are read whatever their case
        if name.startswith(PREFIX) and name not in NAMES:
            near = difflib.get_close_matches(name.removeprefix(PREFIX), names, n=1)
            meant = f"did you mean {PREFIX}{near[0]}?" if near else "README lists every setting"
            yield look("settings", f"{variable} is no setting; nothing reads it", meant)
