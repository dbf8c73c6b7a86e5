"""The servers of docker-compose.yml, from their official images, with the native stack's own configuration.

What differs from `infra/native` is where things are: names instead of ports on loopback, and each image's own folders.
Those with a made configuration file have a writable root: compose cannot put such a file into a read-only one.
"""

import json
from pathlib import Path

from infra.compose.parts import (
    LOOPBACK,
    PORTS,
    Part,
    after,
    as_environment,
    as_options,
    at,
    healthcheck,
    lasting,
    once,
    published,
    read_only_file,
)
from infra.compose.variables import CLUSTER_ID, choice, credentials, port, secret
from infra.native import alertmanager, argilla, kafka, opensearch, postgres, prometheus, redis, vllm
from infra.native.catalog import SERVERS
from infra.native.layout import Layout
from infra.native.server import Place, Server
from infra.native.settings import StackSettings
from infra.native.versions import versions
from shared.settings import SharedSettings

CONTROLLER_PORT = 9094
HOST_PORT = 19092  # Kafka's listener for clients on this machine, told another address than those in the network
ARGILLA_HOME = Path("/var/lib/argilla")
RULES = "/etc/prometheus/rules"
ALERT_TOKEN = "/etc/alertmanager/alert-token"
HEADROOM = 2  # a container's limit against what the server is measured to need: beyond it is a leak, not a load
SETTINGS = StackSettings.model_construct()
# The worker listens on no port; its answer is what it keeps registered in Redis, under this container's name.
_REGISTERED = """\
import os, redis, socket, sys
queue = redis.from_url(os.environ["ARGILLA_REDIS_URL"], decode_responses=True)
names = {queue.hget(worker, "hostname") for worker in queue.smembers("rq:workers")}
sys.exit(socket.gethostname() not in names)
"""


def servers() -> dict[str, Part]:
    return {
        "kafka": _kafka(),
        "postgres": _postgres(),
        "redis": _redis(),
        "opensearch": _opensearch(),
        "argilla-setup": _argilla_setup(),
        "argilla": _argilla(),
        "argilla-worker": _argilla_worker(),
        "prometheus": _prometheus(),
        "alertmanager": _alertmanager(),
        "grafana": _grafana(),
        "vllm": _vllm(),
    }


def configs() -> dict[str, Part]:
    """Files made from the native stack's own functions; compose puts the secrets in when it starts."""
    made = prometheus.configuration(at, service_at, f"{RULES}/*.yml")
    told = alertmanager.configuration(f"http://{service_at('scheduler')}", ALERT_TOKEN)
    password = credentials().redis_password
    return {
        "databases.sql": {"content": "".join(f"create database {n};\n" for n in postgres.DATABASES[1:])},
        "redis.conf": {"content": redis.configuration("*", PORTS["redis"], Path("/data"), password)},
        "create_owner.py": {"content": argilla.CREATE_OWNER},
        "prometheus.yml": {"content": json.dumps(made, indent=1)},  # JSON is YAML too
        "alertmanager.yml": {"content": json.dumps(told, indent=1)},
        "alert-token": {"content": secret("RATCHET_SCHEDULER_ALERT_TOKEN")},
    }


def service_at(name: str) -> str:
    """host:port of one of our services inside the network."""
    return f"{name.replace('_', '-')}:{SharedSettings.model_fields[f'{name}_port'].default}"


def _memory(name: str) -> str:
    return f"{HEADROOM * _native(name).memory_mb}m"


def _native(name: str) -> Server:
    return SERVERS[name](Place(SETTINGS, Layout(Path("/"), Path("/")), credentials()))


def _image(name: str) -> str:
    return versions().images[name]


def _kafka() -> Part:
    name = at("kafka")
    here = f"HOST://{LOOPBACK}:{port('RATCHET_STACK_KAFKA_PORT')}"
    properties = kafka.properties_of("kafka", PORTS["kafka"], CONTROLLER_PORT, Path("/var/lib/kafka/data"))
    heap = SETTINGS.kafka_heap_mb
    return lasting(
        _image("kafka"),
        _memory("kafka"),
        environment={
            **as_environment(properties),
            "CLUSTER_ID": CLUSTER_ID,
            "KAFKA_HEAP_OPTS": f"-Xms{heap}m -Xmx{heap}m",
            "KAFKA_LISTENERS": f"PLAINTEXT://{name},CONTROLLER://kafka:{CONTROLLER_PORT},HOST://:{HOST_PORT}",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{name},{here}",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,HOST:PLAINTEXT",
        },
        ports=[published(port("RATCHET_STACK_KAFKA_PORT"), HOST_PORT)],
        volumes=["kafka:/var/lib/kafka/data"],
        # A Java machine a look: not more often than twice a minute.
        healthcheck=healthcheck(
            *("env", "KAFKA_HEAP_OPTS=-Xmx128m", "/opt/kafka/bin/kafka-broker-api-versions.sh"),
            *("--bootstrap-server", name),
            interval="30s",
            start_period="90s",
        )
        | {"start_interval": "5s"},
        stop_grace_period="60s",
    )


def _postgres() -> Part:
    return lasting(
        _image("postgres"),
        _memory("postgres"),
        command=["postgres", *as_options(postgres.SIZES, "-c")],
        environment={
            "POSTGRES_USER": postgres.USER,
            "POSTGRES_DB": postgres.DATABASES[0],
            "POSTGRES_PASSWORD": credentials().postgres_password,
            "POSTGRES_INITDB_ARGS": "--auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8",
        },
        configs=[{"source": "databases.sql", "target": "/docker-entrypoint-initdb.d/databases.sql"}],
        ports=[published(port("RATCHET_STACK_POSTGRES_PORT"), PORTS["postgres"])],
        volumes=["postgres:/var/lib/postgresql/data"],
        # Over TCP: while the cluster is being made the image's server listens on its socket only.
        healthcheck=healthcheck(
            "pg_isready", "--host", LOOPBACK, "--username", postgres.USER, "--dbname", postgres.DATABASES[0]
        ),
        shm_size="128m",
        stop_signal="SIGINT",
        stop_grace_period="60s",
    )


def _redis() -> Part:
    return lasting(
        _image("redis"),
        _memory("redis"),
        command=["redis-server", "/etc/redis.conf"],
        environment={"REDISCLI_AUTH": credentials().redis_password},
        configs=[{"source": "redis.conf", "target": "/etc/redis.conf"}],
        volumes=["redis:/data"],
        healthcheck=healthcheck("redis-cli", "ping"),
    )


def _opensearch() -> Part:
    lines = opensearch.configuration("0.0.0.0", PORTS["opensearch"], 9300, Path("/usr/share/opensearch"))
    settings = dict(line.split(": ", 1) for line in lines.splitlines())
    return lasting(
        _image("opensearch"),
        _memory("opensearch"),
        environment={
            **settings,
            "OPENSEARCH_JAVA_OPTS": opensearch.heap_of(SETTINGS.opensearch_heap_mb),
            # No password, as without Docker: nobody but Argilla reaches it.
            "DISABLE_SECURITY_PLUGIN": "true",
            "DISABLE_INSTALL_DEMO_CONFIG": "true",
        },
        volumes=["opensearch:/usr/share/opensearch/data"],
        healthcheck=healthcheck(
            "curl",
            "--fail",
            "--silent",
            f"http://{LOOPBACK}:{PORTS['opensearch']}/_cluster/health?wait_for_status=yellow&timeout=5s",
            start_period="120s",
        ),
    )


def _argilla_setup() -> Part:
    """Tables and owner; twice, they are there."""
    return once(
        _image("argilla"),
        _memory("argilla"),
        entrypoint=["/bin/sh", "-c"],
        command=["python -m argilla_server database migrate && python /create_owner.py"],
        environment={**_argilla_environment(), **argilla.owner_of(credentials())},
        configs=[{"source": "create_owner.py", "target": "/create_owner.py"}],
        depends_on=after(healthy=("postgres", "redis", "opensearch")),
    )


def _argilla() -> Part:
    address = f"http://{LOOPBACK}:{PORTS['argilla']}/api/v1/status"
    ask = f"import urllib.request; urllib.request.urlopen('{address}', timeout=8)"
    command = ["start", "--host", "0.0.0.0", "--port", str(PORTS["argilla"]), "--no-access-log"]
    return lasting(
        _image("argilla"),
        _memory("argilla"),
        command=["python", "-m", "argilla_server", *command],
        environment=_argilla_environment(),
        ports=[published(port("RATCHET_STACK_ARGILLA_PORT"), PORTS["argilla"], choice("RATCHET_DESK_BIND"))],
        volumes=[f"argilla:{ARGILLA_HOME}"],
        healthcheck=healthcheck("python", "-c", ask, start_period="120s"),
        depends_on=after(healthy=_native("argilla").needs, done=("argilla-setup",)),
    )


def _argilla_worker() -> Part:
    return lasting(
        _image("argilla"),
        _memory("argilla-worker"),
        command=["python", "-m", "argilla_server", "worker", "--num-workers", "1"],
        environment=_argilla_environment(),
        healthcheck=healthcheck("python", "-c", _REGISTERED, start_period="120s", interval="30s"),
        depends_on=after(healthy=_native("argilla-worker").needs, done=("argilla-setup",)),
    )


def _argilla_environment() -> dict[str, str]:
    return argilla.environment_of(at, credentials(), ARGILLA_HOME)


def _prometheus() -> Part:
    return lasting(
        _image("prometheus"),
        _memory("prometheus"),
        command=[
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            *prometheus.RETENTION,
        ],
        environment=dict(prometheus.ENVIRONMENT),
        configs=[{"source": "prometheus.yml", "target": "/etc/prometheus/prometheus.yml"}],
        ports=[published(port("RATCHET_STACK_PROMETHEUS_PORT"), PORTS["prometheus"])],
        volumes=["prometheus:/prometheus", read_only_file("./infra/prometheus/rules", RULES)],
        healthcheck=healthcheck("wget", "-q", "--spider", f"http://{LOOPBACK}:{PORTS['prometheus']}/-/ready"),
    )


def _alertmanager() -> Part:
    return lasting(
        _image("alertmanager"),
        _memory("alertmanager"),
        command=[
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/alertmanager",
            "--cluster.listen-address=",
        ],
        environment=dict(alertmanager.ENVIRONMENT),
        configs=[
            {"source": "alertmanager.yml", "target": "/etc/alertmanager/alertmanager.yml"},
            {"source": "alert-token", "target": ALERT_TOKEN},
        ],
        ports=[published(port("RATCHET_STACK_ALERTMANAGER_PORT"), PORTS["alertmanager"])],
        volumes=["alertmanager:/alertmanager"],
        healthcheck=healthcheck("wget", "-q", "--spider", f"http://{LOOPBACK}:{PORTS['alertmanager']}/-/ready"),
    )


def _grafana() -> Part:
    return lasting(
        _image("grafana"),
        "512m",
        environment={
            "GF_SECURITY_ADMIN_PASSWORD": secret("RATCHET_GRAFANA_PASSWORD"),
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_USERS_ALLOW_SIGN_UP": "false",
        },
        ports=[published(port("RATCHET_GRAFANA_PORT"), PORTS["grafana"])],
        volumes=[
            "grafana:/var/lib/grafana",
            read_only_file("./infra/grafana/provisioning", "/etc/grafana/provisioning"),
            read_only_file("./infra/grafana/dashboards", "/etc/grafana/dashboards"),
        ],
        healthcheck=healthcheck("wget", "-q", "--spider", f"http://{LOOPBACK}:{PORTS['grafana']}/api/health"),
        depends_on=after(healthy=("prometheus",)),
    )


def _vllm() -> Part:
    """Only with the profile gpu. Adapters are loaded by path, so it sees the artifacts where promotion sees them."""
    ask = f"import urllib.request; urllib.request.urlopen('http://{LOOPBACK}:{PORTS['vllm']}/health', timeout=8)"
    return lasting(
        _image("vllm"),
        choice("RATCHET_VLLM_MEMORY"),
        profiles=["gpu"],
        command=[
            *("--model", choice("RATCHET_VLLM_MODEL"), "--served-model-name", choice("RATCHET_VLLM_SERVED_NAME")),
            *("--host", "0.0.0.0", "--port", str(PORTS["vllm"])),
            *("--max-model-len", choice("RATCHET_VLLM_MAX_LENGTH")),
            *vllm.DIALECT,
        ],
        environment={**vllm.ENVIRONMENT, "HF_HOME": "/hub"},
        gpus="all",
        shm_size="4g",
        ports=[published(port("RATCHET_STACK_VLLM_PORT"), PORTS["vllm"])],
        volumes=["artifacts:/data/artifacts:ro", f"{choice('RATCHET_MODELS_DIR')}:/models:ro", "hub:/hub"],
        healthcheck=healthcheck("python3", "-c", ask, start_period="600s"),
        stop_grace_period="30s",
    )
