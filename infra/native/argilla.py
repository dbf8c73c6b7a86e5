"""Argilla, where experts correct answers: its server, and the worker that sends its webhooks.

The owner's name is `owner`; password and API key are in the stack's credentials. Twice: the tables are migrated and
the owner made only where they are missing.
"""

import json
from pathlib import Path

from infra.native import postgres
from infra.native.credentials import Credentials
from infra.native.install import folder_of, python_pins
from infra.native.probes import http_json, redis_answers
from infra.native.server import Installs, NotHealthy, Place, Runs, Server, owned_folder
from infra.native.settings import HOST, Where

OWNER, WORKSPACE = "owner", "ratchet"
_MODULE = "argilla_server"
# The command line is put together inside the process: the list of processes, which everyone may read, has no password.
CREATE_OWNER = """\
import os, sys
sys.argv = ["argilla_server", "database", "users", "create", "--first-name", "Owner", "--username", os.environ["OWNER"],
    "--password", os.environ["OWNER_PASSWORD"], "--role", "owner", "--api-key", os.environ["OWNER_API_KEY"],
    "--workspace", os.environ["OWNER_WORKSPACE"]]
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()):  # it prints the key
    import runpy
    runpy.run_module("argilla_server", run_name="__main__")
"""


def argilla(place: Place) -> Server:
    port = place.settings.argilla_port
    return Server(
        name="argilla",
        port=port,
        needs=("postgres", "redis", "opensearch"),
        install=_install,
        prepare=lambda run: _prepare(place, run),
        command=[_python(place), "-m", _MODULE, "start", "--host", HOST, "--port", str(port), "--no-access-log"],
        environment=_environment(place),
        health=lambda: _is_healthy(port),
        stop_seconds=10,
        start_seconds=240,
        memory_mb=350,
    )


def argilla_worker(place: Place) -> Server:
    """It listens on no port; its answer is the worker that it keeps registered in Redis."""
    return Server(
        name="argilla-worker",
        port=0,
        needs=("postgres", "redis"),
        install=_install,
        command=[_python(place), "-m", _MODULE, "worker", "--num-workers", "1"],
        environment=_environment(place),
        health=lambda: _works(place),
        stop_seconds=10,
        start_seconds=240,
        memory_mb=700,
    )


def _install(installs: Installs) -> None:
    installs.python("argilla")


def _python(place: Place) -> Path:
    return folder_of(place.layout.servers, "argilla", python_pins("argilla")) / "environment/bin/python"


def _environment(place: Place) -> dict[str, str]:
    return environment_of(place.settings.at, place.credentials, place.layout.data("argilla"))


def environment_of(at: Where, credentials: Credentials, home: Path) -> dict[str, str]:
    """Of the server and its worker, here and in docker-compose.yml."""
    database = f"{postgres.USER}:{credentials.postgres_password}@{at('postgres')}/argilla"
    return {
        "ARGILLA_HOME_PATH": str(home),
        "ARGILLA_DATABASE_URL": f"postgresql+asyncpg://{database}",
        "ARGILLA_SEARCH_ENGINE": "opensearch",
        "ARGILLA_ELASTICSEARCH": f"http://{at('opensearch')}",
        "ARGILLA_REDIS_URL": f"redis://:{credentials.redis_password}@{at('redis')}/0",
        "ARGILLA_AUTH_SECRET_KEY": credentials.argilla_auth_secret,  # else logins end with each restart
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "MALLOC_ARENA_MAX": "2",
    }


def _prepare(place: Place, run: Runs) -> None:
    """Each of Argilla's commands takes seconds to import, so a look at the tables decides whether any is needed."""
    folder = place.layout.data("argilla")
    owned_folder(folder, None)
    migrated, version = folder / "migrated.json", list(python_pins("argilla"))
    if _has_owner(place) and migrated.exists() and json.loads(migrated.read_text("utf-8")) == version:
        return
    environment = _environment(place)
    run([_python(place), "-m", _MODULE, "database", "migrate"], environment=environment)
    owner = owner_of(place.credentials)
    run([_python(place), "-c", CREATE_OWNER], environment=environment | owner)
    if not _has_owner(place):
        raise NotHealthy("Argilla's owner could not be made, see its log")
    partial = migrated.with_suffix(".partial")
    partial.write_text(json.dumps(version), "utf-8")
    partial.rename(migrated)


def owner_of(credentials: Credentials) -> dict[str, str]:
    """The environment of CREATE_OWNER."""
    return {
        "OWNER": OWNER,
        "OWNER_PASSWORD": credentials.argilla_owner_password,
        "OWNER_API_KEY": credentials.argilla_owner_api_key,
        "OWNER_WORKSPACE": WORKSPACE,
    }


def _has_owner(place: Place) -> bool:
    if not postgres.query(place, "argilla", "select to_regclass('public.users')"):
        return False
    return postgres.query(place, "argilla", f"select count(*) from users where username = '{OWNER}'") == "1"


def _is_healthy(port: int) -> None:
    status = http_json(port, "/api/v1/status")
    if not status.get("version") or not status.get("search_engine"):
        raise NotHealthy(f"Argilla on port {port} has no search engine: {str(status)[:200]}")


def _works(place: Place) -> None:
    port, password = place.settings.redis_port, place.credentials.redis_password
    for worker in redis_answers(port, password, "SMEMBERS", "rq:workers"):
        pid = redis_answers(port, password, "HGET", worker, "pid")
        if pid and Path("/proc", pid).exists():
            return
    raise NotHealthy("no living worker is registered in Redis")
