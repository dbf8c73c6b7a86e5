"""Where a workload's versions run, under which name, and which adapter folder is theirs.

Reads ratchet.toml and the configured replicas together. A folder that does not verify is never handed out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.promotion.plan import Serving
from services.promotion.tables import ModelRow
from shared.artifacts import path_of, sha256_of_files, verify
from shared.errors import ArtifactInvalid, Unusable
from shared.ids import base_digest, base_version_name
from shared.workloads import Deployment

_ADAPTER = "adapter/"


@dataclass(frozen=True, slots=True)
class Fleet:
    deployment: Deployment
    upstreams_of: Callable[[str], Sequence[str]]  # a name of [models] -> URLs of its replicas

    def knows(self, workload: str) -> bool:
        return workload in self.deployment.workloads

    def base_of(self, workload: str) -> str:
        return self.deployment.workloads[workload].base

    def replicas_of(self, workload: str) -> Sequence[str]:
        return self.upstreams_of(self.base_of(workload))

    def bare_base(self, workload: str) -> str:
        """The version that serves before any training."""
        return base_version_name(workload, base_digest(self.deployment.model_of(workload).path))

    def adapter_of(self, row: ModelRow) -> Path:
        """The verified folder of a version's adapter. Unusable where another base serves its workload now.

        A model server need not notice: vLLM loads an adapter of another shape and answers nonsense with it.
        """
        assert row.run_uri is not None
        if row.base != self.base_of(row.workload):
            raise Unusable(
                f"{row.version} was trained on {row.base!r}, and ratchet.toml has {row.workload} served by "
                f"{self.base_of(row.workload)!r}: train it anew on that"
            )
        return verified_adapter(row.run_uri, row.adapter_sha256)

    def serving(self, row: ModelRow) -> Serving:
        name = row.version if row.run_uri is not None else self.base_of(row.workload)
        return Serving(row.version, name, self.replicas_of(row.workload))


def verified_adapter(run_uri: str, adapter_sha256: str | None) -> Path:
    """The adapter's folder, once its run's files and the hash that names it were checked; else ArtifactInvalid."""
    folder = path_of(run_uri)
    files = verify(folder, "run")["files"]
    adapter = {name.removeprefix(_ADAPTER): entry for name, entry in files.items() if name.startswith(_ADAPTER)}
    if sha256_of_files(adapter) != adapter_sha256:
        raise ArtifactInvalid(f"the adapter in {folder} is not the one that was registered; its hash is another")
    return folder / "adapter"
