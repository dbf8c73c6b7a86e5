"""Starts the embedded model server: `python -m services.model_server`.

Settings and ratchet.toml are read before torch is imported, so a mistake in them is told at once.
"""

import argparse

from services.model_server.settings import ModelServerSettings
from shared.errors import BadConfig, Unusable
from shared.settings import SharedSettings
from shared.web import configure_logging, run_service, serve
from shared.workloads import Deployment


def main() -> None:
    argparse.ArgumentParser(
        prog="python -m services.model_server",
        description="The embedded model server: one base model and its LoRA adapters behind vLLM's HTTP dialect.",
        epilog="Settings come from the environment: RATCHET_* and RATCHET_MODEL_SERVER_*, listed in the README.",
    ).parse_args()
    shared, own = SharedSettings.load(), ModelServerSettings.load()
    configure_logging(shared.log_level)
    name, path = _base(shared.deployment(), own.model)
    from services.model_server.app import build, http
    from training.model import resolve_base

    try:
        path = resolve_base(path)
    except Unusable as error:
        raise BadConfig(f"models.{name}.path: {error}") from error
    serve(http(build(name, path, own)), shared.host, shared.model_server_port, shared.allowed_hosts)


def _base(deployment: Deployment, wanted: str) -> tuple[str, str]:
    """(name, path) of the base to serve."""
    name = wanted or next(iter(deployment.models))
    if name not in deployment.models:
        known = ", ".join(deployment.models)
        raise BadConfig(f"RATCHET_MODEL_SERVER_MODEL is {name!r}, which is no section of [models]; known: {known}")
    return name, deployment.models[name].path


if __name__ == "__main__":
    run_service(main)
