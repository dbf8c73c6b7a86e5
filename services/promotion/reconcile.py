"""Model servers brought to what the plan needs, over and over: a replica that restarted gets its adapters back.

Each look loads what is missing; what nobody has needed for a while is unloaded. Champions and the versions before them
stay loaded, so that a rollback has nothing to wait for; so do candidates about to be promoted.
Fails: a replica that is away, or refuses, is noted in the status and holds up none of the others; an adapter folder
that does not verify is never sent to any.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import Engine

from services.promotion import metrics
from services.promotion.fleet import Fleet
from services.promotion.replicas import Replica, ReplicaAway
from services.promotion.repository import Registry
from services.promotion.settings import PromotionSettings
from services.promotion.tables import PROMOTING, ModelRow
from shared.db import reading
from shared.errors import ArtifactInvalid, Unavailable, Unusable

log = logging.getLogger(__name__)
START_SECONDS = 120.0  # services of one deployment start together, and a model server takes longest
_UNLOAD_PATIENCE_SECONDS = 0.5  # another replica may be letting go of the same version just now


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    url: str
    reachable: bool
    adapters: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(slots=True)
class _Need:
    """What one replica should hold, and of what it may be rid."""

    adapters: dict[str, ModelRow] = field(default_factory=dict)
    bases: set[str] = field(default_factory=set)


class Reconciler:
    """`look` may be called from any thread; a version is never unloaded while it is about to serve."""

    def __init__(
        self,
        engine: Engine,
        fleet: Fleet,
        settings: PromotionSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._fleet, self._settings, self._clock = engine, fleet, settings, clock
        self._replicas: dict[str, Replica] = {}
        self._status: dict[str, ReplicaStatus] = {}
        self._told: dict[str, list[tuple[int, str]]] = {}
        self._patient_until = clock() + START_SECONDS
        self._unneeded_since: dict[tuple[str, str], float] = {}
        self._locks: dict[str, threading.Lock] = {}  # by version
        self._locks_lock = threading.Lock()
        # Two pools: a look that is slow on one replica holds up no promotion.
        self._looks = ThreadPoolExecutor(max_workers=16, thread_name_prefix="replica-look")
        self._loads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="replica-load")
        for url in self._urls():
            self._replica(url)

    def status(self) -> list[ReplicaStatus]:
        return [self._status.get(url, ReplicaStatus(url, False)) for url in self._urls()]

    def look(self) -> None:
        """One look at every replica. Raises Unavailable only for the database."""
        needs, known = self._needs()
        for status in self._looks.map(lambda url: self._bring(url, needs[url], known), sorted(needs)):
            self._note(status)
        metrics.REPLICAS.set(len(needs))
        metrics.REPLICAS_REACHABLE.set(sum(self._status[url].reachable for url in needs))

    def held(self, version: str) -> threading.Lock:
        """Held around "load everywhere, then publish": meanwhile nothing unloads that version."""
        with self._locks_lock:
            return self._locks.setdefault(version, threading.Lock())

    def load_everywhere(self, row: ModelRow, *, must_reach_one: bool = True) -> None:
        """Returns when every reachable replica of the workload holds the version.

        ArtifactInvalid: the folder is damaged. Unusable: a replica refuses it, or it is of another base. Unavailable:
        none is reachable, or one that is there fails to load it.
        """
        if row.run_uri is None:
            return
        path = str(self._fleet.adapter_of(row))
        urls = self._fleet.replicas_of(row.workload)
        base = self._fleet.base_of(row.workload)
        outcomes = list(self._loads.map(lambda url: self._ensure(self._replica(url), base, row.version, path), urls))
        if must_reach_one and not any(outcomes):
            raise Unavailable(
                f"no model server of {base!r} holds {row.version}: none of {', '.join(urls) or 'no configured one'} "
                f"can be reached and serves {base!r}"
            )

    def close(self) -> None:
        for pool in (self._looks, self._loads):
            pool.shutdown(wait=True, cancel_futures=True)
        for replica in self._replicas.values():
            replica.close()

    def _ensure(self, replica: Replica, base: str, name: str, path: str) -> bool:
        """False when the replica is away or serves another base: it will be looked at again."""
        try:
            holding = replica.holding()
        except ReplicaAway as error:
            log.warning("%s", error)
            return False
        if base not in holding.bases:
            return False
        if name not in holding.adapters:
            _load(replica, name, path)
        return True

    def _needs(self) -> tuple[dict[str, _Need], frozenset[str]]:
        """By replica: what it should hold; and every adapter we know of, the only ones we ever unload."""
        needs = {url: _Need() for url in self._urls()}
        with reading(self._engine) as session:
            registry = Registry(session)
            for row in _wanted(registry):
                if not self._fleet.knows(row.workload):
                    continue
                for url in self._fleet.replicas_of(row.workload):
                    needs[url].bases.add(self._fleet.base_of(row.workload))
                    if row.run_uri is not None:
                        needs[url].adapters[row.version] = row
            known = frozenset(row.version for row in registry.models() if row.run_uri is not None)
        return needs, known

    def _bring(self, url: str, need: _Need, known: frozenset[str]) -> ReplicaStatus:
        replica = self._replica(url)
        try:
            holding = replica.holding()
        except ReplicaAway as error:
            return ReplicaStatus(url, False, errors=(str(error),))
        errors = [f"{url} does not serve {base!r}" for base in sorted(need.bases - holding.bases)]
        for name in sorted(need.adapters.keys() - holding.adapters):
            row = need.adapters[name]
            if self._fleet.base_of(row.workload) in holding.bases:
                errors += self._mend(replica, row)
        try:
            self._unload_unneeded(replica, (holding.adapters & known) - need.adapters.keys())
            return ReplicaStatus(url, True, tuple(sorted(replica.holding().adapters)), tuple(errors))
        except (ReplicaAway, Unusable) as error:
            return ReplicaStatus(url, True, tuple(sorted(holding.adapters)), (*errors, str(error)))

    def _mend(self, replica: Replica, row: ModelRow) -> list[str]:
        try:
            _load(replica, row.version, str(self._fleet.adapter_of(row)))
        except (ArtifactInvalid, Unusable, ReplicaAway) as error:
            return [str(error)]
        log.info("%s got %s back", replica.url, row.version)
        return []

    def _unload_unneeded(self, replica: Replica, unneeded: Iterable[str]) -> None:
        now = self._clock()
        names = set(unneeded)
        for key in [k for k in self._unneeded_since if k[0] == replica.url and k[1] not in names]:
            self._unneeded_since.pop(key, None)
        for name in sorted(names):
            since = self._unneeded_since.setdefault((replica.url, name), now)
            if now - since >= self._settings.unload_after_seconds:
                self._unload(replica, name)

    def _unload(self, replica: Replica, name: str) -> None:
        lock = self.held(name)
        if not lock.acquire(timeout=_UNLOAD_PATIENCE_SECONDS):
            return  # it is about to serve; the next look asks again
        try:
            with reading(self._engine) as session:
                if name in {row.version for row in _wanted(Registry(session))}:
                    return
            replica.unload(name)
        finally:
            lock.release()
        self._unneeded_since.pop((replica.url, name), None)
        metrics.ADAPTER_UNLOADS.inc()
        log.info("%s let go of %s", replica.url, name)

    def _note(self, status: ReplicaStatus) -> None:
        """Logs what is new; the status keeps it for as long as it lasts."""
        self._status[status.url] = status
        if status.errors:
            metrics.RECONCILE_ERRORS.inc()
        is_starting = not status.reachable and self._clock() < self._patient_until
        level = logging.INFO if is_starting else logging.WARNING
        told, self._told[status.url] = self._told.get(status.url, []), [(level, error) for error in status.errors]
        for error in status.errors:
            if (level, error) not in told:
                log.log(level, "%s", error)

    def _urls(self) -> list[str]:
        workloads = self._fleet.deployment.workloads
        return sorted({url for workload in workloads for url in self._fleet.replicas_of(workload)})

    def _replica(self, url: str) -> Replica:
        if url not in self._replicas:
            settings = self._settings
            self._replicas[url] = Replica(
                url, list_seconds=settings.replica_timeout_seconds, load_seconds=settings.load_timeout_seconds
            )
        return self._replicas[url]


def _load(replica: Replica, name: str, path: str) -> None:
    try:
        replica.load(name, path)
    except (ReplicaAway, Unusable):
        metrics.ADAPTER_LOADS.labels("failed").inc()
        raise
    metrics.ADAPTER_LOADS.labels("loaded").inc()


def _wanted(registry: Registry) -> list[ModelRow]:
    """Champions, the versions before them, and candidates that passed the gate and are about to serve."""
    rows: Mapping[str, ModelRow] = {row.version: row for row in registry.champions()}
    names = [row.predecessor for row in rows.values()]
    names += [work.version for work in registry.all_work() if work.state == PROMOTING]
    others = [registry.model(name) for name in names if name is not None]
    return [*rows.values(), *(row for row in others if row is not None)]
