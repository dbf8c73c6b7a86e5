"""Where everything of a stack lies: what is installed, and each server's data, log and settings."""

from dataclasses import dataclass
from pathlib import Path

from infra.native.settings import StackSettings


@dataclass(frozen=True, slots=True)
class Layout:
    root: Path  # absolute
    servers: Path  # what is installed; may be shared by several stacks

    @classmethod
    def of(cls, settings: StackSettings) -> "Layout":
        root = settings.dir.resolve()
        return cls(root, settings.servers_dir.resolve() if settings.servers_dir else root / "servers")

    def data(self, name: str) -> Path:
        return self.root / "servers-data" / name

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    @property
    def lock(self) -> Path:
        """Locked as long as a supervisor, or what cleans up behind one, lives."""
        return self.root / "run" / "lock"

    @property
    def state(self) -> Path:
        return self.root / "run" / "state.json"

    @property
    def wanted(self) -> Path:
        """The names of the servers that should run; the supervisor follows it."""
        return self.root / "run" / "wanted.json"

    @property
    def credentials(self) -> Path:
        return self.root / "credentials.json"

    @property
    def alert_token(self) -> Path:
        """What Alertmanager shows the scheduler; in a file of its own, since Alertmanager reads it from there."""
        return self.root / "alert-token"

    def make(self) -> None:
        for folder in (self.lock.parent, self.root / "logs", self.root / "servers-data", self.servers):
            folder.mkdir(parents=True, exist_ok=True)
