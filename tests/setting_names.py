"""The names of every RATCHET_... variable that a part of the program reads, found in the code itself.

`python -m tests.setting_names` writes them into services/cli/doctor/setting_names.py, which `ratchet doctor` compares
the environment with: services do not import each other's settings. A test fails when the two differ.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from infra.compose import variables
from infra.native import settings as stack_settings
from shared import settings as shared_settings
from shared.settings import EnvironmentSettings
from tests.readme_tables import modules

ROOT = Path(__file__).parents[1]
REGISTRY = ROOT / "services" / "cli" / "doctor" / "setting_names.py"
_NAME = r"RATCHET_[A-Z0-9_]*[A-Z0-9]"
_HEAD = '''"""Every RATCHET_... variable that the program reads; written by `python -m tests.setting_names`."""

NAMES = (
'''


def found() -> list[str]:
    names = set(variables.SECRETS) | set(variables.CHOICES) | set(variables.ports())
    for module in (*modules("settings", shared_settings), stack_settings):
        names |= set(_declared_in(module))
    return sorted(names | set(_read_directly()) | set(_read_by_tests_and_builds()))


def registry() -> str:
    return _HEAD + "".join(f'    "{name}",\n' for name in found()) + ")\n"


def _declared_in(module: ModuleType) -> Iterator[str]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, EnvironmentSettings) and value is not EnvironmentSettings:
            prefix = value.model_config.get("env_prefix", "")
            yield from (f"{prefix}{name.upper()}" for name in value.model_fields)


def _read_directly() -> Iterator[str]:
    """Whole names that stand as strings in the code, such as the one a supervisor leaves for its services."""
    for package in ("infra", "services", "shared", "training"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if file == REGISTRY:
                continue
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(_NAME, node.value):
                    yield node.value


def _read_by_tests_and_builds() -> Iterator[str]:
    for name in ("Makefile", "infra/Dockerfile"):
        yield from re.findall(_NAME, (ROOT / name).read_text("utf-8"))
    for file in sorted((ROOT / "tests").rglob("*.py")):
        yield from re.findall(rf'os\.environ\.get\("({_NAME})"', file.read_text("utf-8"))


if __name__ == "__main__":
    REGISTRY.write_text(registry(), "utf-8")
