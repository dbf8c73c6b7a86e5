"""Our services in docker-compose.yml: two images of infra/Dockerfile, each service with the settings it needs only."""

from collections.abc import Sequence

from infra.compose.parts import LOOPBACK, Part, after, at, healthcheck, lasting, once, published, read_only_file
from infra.compose.servers import service_at
from infra.compose.variables import choice, credentials, port, secret
from infra.native.addresses import addresses_at
from shared.settings import SharedSettings

ARTIFACTS = "artifacts:/data/artifacts"
_OURS = ("gateway", "annotation", "scheduler", "promotion")
_SERVICES, _TRAINING = "services", "training"  # the stages of infra/Dockerfile


def services() -> dict[str, Part]:
    desk = choice("RATCHET_DESK_BIND")
    return {
        "migrate": _migrate(),
        "gateway": _service(
            "gateway", "512m", ("kafka",), volumes=["gateway:/data"], bind=choice("RATCHET_GATEWAY_BIND")
        ),
        "annotation": _service("annotation", "768m", ("kafka", "postgres", "argilla"), volumes=[ARTIFACTS], bind=desk),
        "promotion": _service("promotion", "768m", ("kafka", "postgres"), volumes=[ARTIFACTS]),
        "scheduler": _scheduler(),
        "model-server": _model_server(),
        "doctor": _doctor(),
    }


def _service(
    name: str,
    memory: str,
    servers: Sequence[str],
    *,
    volumes: Sequence[str],
    stage: str = _SERVICES,
    bind: str = LOOPBACK,
) -> Part:
    """servers: those whose addresses it is told; it starts when they answer, but for the gateway, which never waits.

    bind: the address of this machine it is published on; empty: on none.
    """
    inside = SharedSettings.model_fields[f"{name}_port"].default
    keeps_books = "postgres" in servers
    waits_for: Part = {"depends_on": after(healthy=servers, done=("migrate",))} if keeps_books else {}
    return lasting(
        **_image(stage),
        memory=memory,
        **_hardened("1g" if stage == _TRAINING else "64m"),
        command=["python", "-m", f"services.{name}"],
        environment={**_environment(), **addresses_at(at, credentials(), servers)},
        ports=[published(port(f"RATCHET_{name.upper()}_PORT"), inside, bind)] if bind else [],
        volumes=[*volumes, _configuration()],
        healthcheck=_ready(inside),
        stop_grace_period="30s",
        **waits_for,
    )


def _scheduler() -> Part:
    """Trainings and evaluations are its children: it has torch, the models, and their memory."""
    part = _service(
        "scheduler",
        choice("RATCHET_TRAINING_MEMORY"),
        ("kafka", "postgres"),
        volumes=["scheduler:/data", ARTIFACTS, *_models()],
        stage=_TRAINING,
    )
    part["environment"] |= {"RATCHET_SCHEDULER_ALERT_TOKEN": secret("RATCHET_SCHEDULER_ALERT_TOKEN")}
    return part


def _model_server() -> Part:
    """Without a port on this machine: who asks it past the gateway leaves no record."""
    part = _service(
        "model_server",
        choice("RATCHET_MODEL_SERVER_MEMORY"),
        (),
        volumes=[f"{ARTIFACTS}:ro", *_models()],
        stage=_TRAINING,
        bind="",
    )
    return {**part, "scale": choice("RATCHET_MODEL_SERVERS")}


def _migrate() -> Part:
    return once(
        **_image(_SERVICES),
        memory="512m",
        **_hardened("64m"),
        command=["ratchet", "migrate"],
        environment={**_environment(), **addresses_at(at, credentials(), ("postgres",))},
        volumes=[_configuration()],
        depends_on=after(healthy=("postgres",)),
    )


def _doctor() -> Part:
    """`docker compose run --rm doctor`: it knows every address, and asks."""
    servers = ("kafka", "postgres", "argilla", "prometheus", "alertmanager")
    return once(
        **_image(_SERVICES),
        memory="512m",
        **_hardened("64m"),
        profiles=["tools"],
        command=["ratchet", "doctor"],
        environment={**_environment(), **addresses_at(at, credentials(), servers)},
        volumes=["gateway:/data", _configuration()],  # where the spool is, room matters most
    ) | {"restart": "no"}


def _environment() -> dict[str, str]:
    urls = {f"RATCHET_{name.upper()}_URL": f"http://{service_at(name)}" for name in _OURS}
    names = ",".join(service_at(name).split(":")[0] for name in (*_OURS, "model_server"))
    return {
        "RATCHET_HOST": "0.0.0.0",
        "RATCHET_ALLOWED_HOSTS": f"{names},{choice('RATCHET_ALLOWED_HOSTS')}",
        "RATCHET_LOG_LEVEL": choice("RATCHET_LOG_LEVEL"),
        "RATCHET_UPSTREAM_URLS": choice("RATCHET_UPSTREAM_URLS"),
        **urls,
    }


def _image(stage: str) -> Part:
    build: Part = {"context": ".", "dockerfile": "infra/Dockerfile", "target": stage}
    if stage == _TRAINING:
        build["args"] = {"TORCH_BACKEND": choice("RATCHET_TORCH_BACKEND")}
    return {"image": f"ratchet/{stage}:local", "build": build}


def _hardened(tmp: str) -> Part:
    return {
        "init": True,
        "read_only": True,
        "tmpfs": [f"/tmp:size={tmp},mode=1777"],
        "cap_drop": ["ALL"],
    }


def _ready(port_inside: int) -> Part:
    url = f"http://{LOOPBACK}:{port_inside}/readyz"
    return healthcheck("python", "-m", "infra.healthcheck", url, start_period="60s")


def _configuration() -> Part:
    return read_only_file(choice("RATCHET_CONFIG_DIR"), "/config")


def _models() -> list[str]:
    return [f"{choice('RATCHET_MODELS_DIR')}:/models:ro", "hub:/hub"]
