"""OpenSearch, one node, with the k-NN plugin and the painless module that Argilla's indexes need.

No password: whoever is on this machine can read it, as the loopback address is its only door.
"""

import shutil
from pathlib import Path

from infra.native.install import folder_of, run
from infra.native.probes import http_json
from infra.native.server import Installs, NotHealthy, Place, Server, owned_folder
from infra.native.settings import HOST
from infra.native.versions import versions

ACCOUNT = "nobody"  # OpenSearch refuses root, and brings no user of its own
_LIST = "opensearch"

_CONFIG = """\
cluster.name: ratchet
node.name: ratchet
discovery.type: single-node
network.host: {host}
http.port: {port}
transport.port: {transport_port}
path.data: {folder}/data
path.logs: {folder}/logs
cluster.routing.allocation.disk.threshold_enabled: false
"""

# What Maven does not bring: the description of a module, and what its classes may do.
_PAINLESS_DESCRIPTOR = """\
description=painless
version={version}
name=lang-painless
classname=org.opensearch.painless.PainlessPlugin
java.version=11
opensearch.version={version}
custom.foldername=
extended.plugins=
has.native.controller=false
"""
# The rest of what it depends on is in the server already, and the server refuses to find a class twice.
_PAINLESS_JARS = ("lang-painless-", "opensearch-scripting-painless-spi-", "antlr4-runtime-", "asm-")
_PAINLESS_POLICY = """\
grant {
  permission java.lang.RuntimePermission "createClassLoader";
  permission java.lang.RuntimePermission "getClassLoader";
};
"""


def opensearch(place: Place) -> Server:
    settings, folder = place.settings, place.layout.data("opensearch")
    home = _home(place.layout.servers)
    heap = settings.opensearch_heap_mb
    return Server(
        name="opensearch",
        port=settings.opensearch_port,
        other_ports=(settings.opensearch_transport_port,),
        install=_install,
        prepare=lambda run: _write_config(place, home, folder),
        command=[home / "bin" / "opensearch"],
        environment={
            "HOME": str(folder),
            "OPENSEARCH_JAVA_HOME": str(java_home()),
            "OPENSEARCH_PATH_CONF": str(folder / "config"),
            "OPENSEARCH_TMPDIR": str(folder / "tmp"),
            # For a desk's few records: starting soon and small matters more than the last bit of speed.
            "OPENSEARCH_JAVA_OPTS": f"{heap_of(heap)} -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        },
        health=lambda: _is_healthy(settings.opensearch_port),
        user=ACCOUNT,
        start_seconds=240,
        memory_mb=heap + 250,
    )


def configuration(host: str, port: int, transport_port: int, folder: Path) -> str:
    """opensearch.yml, here and in docker-compose.yml."""
    return _CONFIG.format(host=host, port=port, transport_port=transport_port, folder=folder)


def heap_of(megabytes: int) -> str:
    return f"-Xms{megabytes}m -Xmx{megabytes}m"


def java_home() -> Path:
    found = shutil.which(versions().apt["java"].command)
    return Path(found).resolve().parents[1] if found else Path("/usr/lib/jvm/default-java")


def _home(servers: Path) -> Path:
    return folder_of(servers, _LIST, _pins()) / "home"


def _pins() -> tuple[str, ...]:
    return versions().maven[_LIST]


def _install(installs: Installs) -> None:
    installs.apt("java")
    installs.apt("maven")
    installs.maven(_LIST, then=_assemble)


def _assemble(folder: Path) -> None:
    """The server out of its parts; runs before the folder counts as installed."""
    version = versions().of_artifact(_LIST, "opensearch")
    shutil.unpack_archive(folder / "zips" / f"opensearch-{version}.zip", folder)
    home = folder / "home"
    (folder / f"opensearch-{version}").rename(home)
    for script in (home / "bin").iterdir():
        script.chmod(0o755)  # unpacking a zip forgets who may run what
    painless = home / "modules" / "lang-painless"
    painless.mkdir(parents=True)
    for jar in (folder / "libs").glob("*.jar"):
        if jar.name.startswith(_PAINLESS_JARS):
            jar.rename(painless / jar.name)
    shutil.rmtree(folder / "libs")
    (painless / "plugin-descriptor.properties").write_text(_PAINLESS_DESCRIPTOR.format(version=version), "utf-8")
    (painless / "plugin-security.policy").write_text(_PAINLESS_POLICY, "utf-8")
    knn = next((folder / "zips").glob("opensearch-knn-*.zip"))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OPENSEARCH_JAVA_HOME": str(java_home())}
    run([home / "bin" / "opensearch-plugin", "install", "--batch", knn.as_uri()], environment=environment)
    shutil.rmtree(folder / "zips")


def _write_config(place: Place, home: Path, folder: Path) -> None:
    """Everything it writes lies in its own folder; where it is installed it only reads."""
    settings = place.settings
    owned_folder(folder, ACCOUNT)
    for name in ("data", "logs", "tmp"):
        owned_folder(folder / name, ACCOUNT)
    config = folder / "config"
    shutil.rmtree(config, ignore_errors=True)
    shutil.copytree(home / "config", config)
    text = (config / "jvm.options").read_text("utf-8")
    text = "\n".join(line for line in text.splitlines() if "G1" not in line)  # two collectors are refused
    text = text.replace("HeapDumpPath=data", f"HeapDumpPath={folder}/data")
    (config / "jvm.options").write_text(text.replace("=logs/", f"={folder}/logs/"), "utf-8")
    (config / "opensearch.yml").write_text(
        configuration(HOST, settings.opensearch_port, settings.opensearch_transport_port, folder),
        "utf-8",
    )
    for path in (config, *config.rglob("*")):
        if path.is_dir():
            owned_folder(path, ACCOUNT, 0o755)
        else:
            path.chmod(0o644)


def _is_healthy(port: int) -> None:
    status = http_json(port, "/_cluster/health").get("status")
    if status not in ("yellow", "green"):
        raise NotHealthy(f"OpenSearch on port {port} says its cluster is {status}")
