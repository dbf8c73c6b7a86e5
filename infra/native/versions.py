"""What `infra/versions.toml` pins, read once."""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FILE = Path(__file__).parents[1] / "versions.toml"


@dataclass(frozen=True, slots=True)
class AptPackage:
    package: str
    version: str  # how the version that was tried begins
    command: str  # a name on the PATH, or a path


@dataclass(frozen=True, slots=True)
class Versions:
    apt: dict[str, AptPackage]
    maven: dict[str, tuple[str, ...]]  # group:artifact:version[:type]
    maven_plugin: str
    python: dict[str, tuple[str, ...]]  # requirements, each with its version
    images: dict[str, str] = field(default_factory=dict)  # name:tag

    def of_artifact(self, name: str, artifact: str) -> str:
        """The version of one artifact of a list."""
        return next(a.split(":")[2] for a in self.maven[name] if a.split(":")[1] == artifact)


@cache
def versions(file: Path = FILE) -> Versions:
    found = tomllib.loads(file.read_text("utf-8"))
    return Versions(
        apt={name: AptPackage(**values) for name, values in found["apt"].items()},
        maven={name: tuple(v["artifacts"]) for name, v in found["maven"].items() if isinstance(v, dict)},
        maven_plugin=found["maven"]["plugin"],
        python={name: tuple(values["packages"]) for name, values in found["python"].items()},
        images=found["images"],
    )
