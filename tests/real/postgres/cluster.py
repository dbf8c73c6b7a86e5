"""A PostgreSQL cluster of a test's own, to be stopped and started: the stack's supervisor would start its own again."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from infra.native.postgres import ACCOUNT, binary
from shared.processes import free_ports
from tests.real.stack import until

DATABASE = "ratchet"


class Cluster:
    def __init__(self, folder: Path) -> None:
        self._data, self._log = folder / "cluster", folder / "log"
        (self._port,) = free_ports(1)
        self._run("initdb", "-U", "ratchet", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        self.start()
        self._ask("postgres", f"CREATE DATABASE {DATABASE}")
        self.url = self._url(DATABASE)

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self._port} -c unix_socket_directories="
        self._run("pg_ctl", "start", "-W", "-l", str(self._log), "-o", options)
        until(self._answers)

    def stop(self, mode: str) -> None:
        self._run("pg_ctl", "stop", "-m", mode)

    def _answers(self) -> bool:
        try:
            self._ask("postgres", "SELECT 1")
        except OperationalError:
            return False
        return True

    def _ask(self, database: str, statement: str) -> None:
        engine = create_engine(self._url(database), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://ratchet@127.0.0.1:{self._port}/{database}"

    def _run(self, name: str, *words: str) -> None:
        as_account: dict[str, Any] = {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []}
        command = [str(binary(name)), words[0], "-D", str(self._data), *words[1:]]
        if name == "initdb":
            command = [str(binary(name)), "-D", str(self._data), *words]
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                command,
                cwd="/",
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=100,
                **(as_account if os.geteuid() == 0 else {}),
            )
            said.seek(0)
            assert done.returncode == 0, said.read().decode()


@contextmanager
def own_cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="ratchet-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, ACCOUNT, ACCOUNT)
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.stop("immediate")
        shutil.rmtree(folder)
