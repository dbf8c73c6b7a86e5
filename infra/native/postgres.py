"""PostgreSQL: one cluster with a database for Ratchet and one for Argilla, passwords on loopback, no Unix socket."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

from infra.native.probes import postgres_answers
from infra.native.server import Place, Runs, Server, owned_folder
from infra.native.settings import HOST
from infra.native.versions import versions

USER = "ratchet"
DATABASES = ("ratchet", "argilla")
SIZES = {"shared_buffers": "48MB", "max_connections": "100"}
ACCOUNT = "postgres"  # comes with the package; PostgreSQL refuses root


def postgres(place: Place) -> Server:
    settings, folder = place.settings, place.layout.data("postgres")
    cluster = folder / "cluster"
    return Server(
        name="postgres",
        port=settings.postgres_port,
        install=lambda installs: installs.apt("postgres"),
        prepare=lambda run: _make_cluster(run, folder, place.credentials.postgres_password),
        command=[
            binary("postgres"),
            *("-D", cluster),
            *_set(
                listen_addresses=HOST,
                port=str(settings.postgres_port),
                unix_socket_directories="",
                **SIZES,
            ),
        ],
        health=lambda: _is_healthy(place),
        user=ACCOUNT,
        stop_signal=signal.SIGINT,  # the fast way: it does not wait for clients to leave
        memory_mb=160,
    )


def binary(name: str) -> Path:
    return Path(versions().apt["postgres"].command).with_name(name)


def query(place: Place, database: str, sql: str) -> str:
    """What psql prints, unaligned; NotHealthy when it cannot be asked."""
    credentials = place.credentials
    return postgres_answers(
        binary("psql"), place.settings.postgres_port, USER, credentials.postgres_password, database, sql
    )


def _is_healthy(place: Place) -> None:
    query(place, DATABASES[0], "select 1")


def _make_cluster(run: Runs, folder: Path, password: str) -> None:
    """Made under another name and renamed when it has its databases: a cluster that is there is whole."""
    owned_folder(folder, ACCOUNT, 0o700)
    cluster, partial = folder / "cluster", folder / "partial"
    if cluster.exists():
        return
    shutil.rmtree(partial, ignore_errors=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".password-") as file:
        file.write(password + "\n")
        file.flush()
        os.chown(file.name, folder.stat().st_uid, folder.stat().st_gid)
        access = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={file.name}"]
        run([binary("initdb"), "-D", partial, *access, "--encoding=UTF8", "--locale=C.UTF-8"], user=ACCOUNT)
    # Without a running server: nobody can meet the cluster while it is half made.
    statements = "".join(f"create database {name}\n" for name in DATABASES)
    run([binary("postgres"), "--single", "-D", partial, "postgres"], user=ACCOUNT, stdin=statements)
    partial.rename(cluster)


def _set(**values: str) -> list[str]:
    return [word for name, value in values.items() for word in ("-c", f"{name}={value}")]
