"""What a person sets for docker-compose.yml, in `.env` or the environment: each variable once, with its meaning.

A secret has no default: without it compose refuses the whole file with the variable's name.
"""

from dataclasses import fields

from infra.native.credentials import Credentials
from infra.native.settings import StackSettings
from shared.settings import SharedSettings

# Kafka's name for its log of logs; no secret. 16 bytes in URL-safe base64.
CLUSTER_ID = "cmF0Y2hldC1jb21wb3NlMQ"

SECRETS = {
    "RATCHET_POSTGRES_PASSWORD": "PostgreSQL's password of the user ratchet",
    "RATCHET_REDIS_PASSWORD": "Redis' password",
    "RATCHET_ARGILLA_OWNER_PASSWORD": "password of Argilla's user `owner`, for its page",
    "RATCHET_ARGILLA_OWNER_API_KEY": "that user's API key, for annotation",
    "RATCHET_ARGILLA_AUTH_SECRET": "what Argilla signs logins with",
    "RATCHET_SCHEDULER_ALERT_TOKEN": "what Alertmanager must send to the scheduler",
    "RATCHET_GRAFANA_PASSWORD": "password of Grafana's user `admin`",
}

CHOICES = {
    "RATCHET_CONFIG_DIR": ("./config", "folder with ratchet.toml and the files it names; seen as /config"),
    "RATCHET_MODELS_DIR": ("./models", 'folder of base models, seen as /models: path = "/models/NAME" in ratchet.toml'),
    "RATCHET_GATEWAY_BIND": ("127.0.0.1", "address the gateway's port is bound to on this machine"),
    "RATCHET_DESK_BIND": ("127.0.0.1", "address Argilla's and the local desk's ports are bound to on this machine"),
    "RATCHET_ALLOWED_HOSTS": ("localhost", "further names our services answer to, comma-separated"),
    "RATCHET_UPSTREAM_URLS": ("http://model-server:8081", "model servers; with vLLM http://vllm:8000"),
    "RATCHET_MODEL_SERVERS": ("1", "embedded model servers to run; 0 with vLLM"),
    "RATCHET_LOG_LEVEL": ("INFO", "DEBUG, INFO, WARNING or ERROR"),
    "RATCHET_TORCH_BACKEND": ("cpu", "which torch the images of training and the model server hold: cpu, cu130, ..."),
    "RATCHET_TRAINING_MEMORY": ("8g", "most memory of the scheduler with the training it runs"),
    "RATCHET_MODEL_SERVER_MEMORY": ("4g", "most memory of the embedded model server"),
    "RATCHET_VLLM_MEMORY": ("32g", "most memory of vLLM outside the GPU"),
    "RATCHET_VLLM_MODEL": ("/models/base", "what vLLM serves: a folder below /models, or a hub name"),
    "RATCHET_VLLM_SERVED_NAME": ("base", "what vLLM calls it: its name in [models] of ratchet.toml"),
    "RATCHET_VLLM_MAX_LENGTH": ("4096", "longest prompt with answer, in tokens"),
}


def secret(name: str) -> str:
    """As compose replaces it: an error in words while it is not set, or is empty."""
    assert name in SECRETS, name
    return f"${{{name}:?set it in .env, see infra/env.example}}"


def choice(name: str) -> str:
    return f"${{{name}:-{CHOICES[name][0]}}}"


def port(name: str) -> str:
    """A port on this machine, as RATCHET_<NAME>_PORT; the same variable and default as without Docker."""
    default = ports()[name]
    return f"${{{name}:-{default}}}"


def ports() -> dict[str, int]:
    """Variable -> default, of every port that is published."""
    ours = {n: SharedSettings.model_fields[n].default for n in _OURS}
    stack = {n: StackSettings.model_fields[n].default for n in _PUBLISHED}
    named = {f"RATCHET_{n.upper()}": p for n, p in ours.items()}
    return {**named, **{f"RATCHET_STACK_{n.upper()}": p for n, p in stack.items()}, "RATCHET_GRAFANA_PORT": 13000}


_OURS = ("gateway_port", "annotation_port", "scheduler_port", "promotion_port")
# Redis and OpenSearch stay inside: nobody but Argilla asks them.
_PUBLISHED = ("kafka_port", "postgres_port", "argilla_port", "prometheus_port", "alertmanager_port", "vllm_port")


def credentials() -> Credentials:
    """Those of the native stack, each as its variable."""
    drawn = {f.name: f"RATCHET_{f.name.upper()}" for f in fields(Credentials)}
    drawn.pop("kafka_cluster_id")
    return Credentials(**{name: secret(variable) for name, variable in drawn.items()}, kafka_cluster_id=CLUSTER_ID)


def example() -> str:
    """infra/env.example: every variable, the ones without a default first."""
    lines = [
        "# Settings of docker-compose.yml; made by `make compose` from infra/compose/variables.py.",
        "#   cp infra/env.example .env && chmod 600 .env",
        "# Secrets, each of its own and of letters and digits, for they stand in URLs: openssl rand -hex 24",
        "",
    ]
    for name, meaning in SECRETS.items():
        lines += [f"# {meaning}", f"{name}=", ""]
    lines += ["# The rest has the value shown unless it is set.", ""]
    for name, (default, meaning) in CHOICES.items():
        lines += [f"# {meaning}", f"#{name}={default}", ""]
    lines += ["# Ports on this machine.", *(f"#{name}={default}" for name, default in ports().items())]
    return "\n".join(lines) + "\n"
