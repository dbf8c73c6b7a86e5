"""The README's tables of topics, metrics and settings, made from the code.

`python -m tests.readme_tables` writes them into README.md; `test_readme.py` fails when they differ.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from prometheus_client.metrics import MetricWrapperBase
from pydantic_core import PydanticUndefined

import services
from shared import metrics as shared_metrics
from shared import settings as shared_settings
from shared.settings import EnvironmentSettings
from shared.topics import TOPICS

README = Path(__file__).parents[1] / "README.md"


def topics() -> str:
    rows = [(f"`{t.name}`", t.carries, t.written_by, t.read_by, t.partitions, f"{t.retention_days} d") for t in TOPICS]
    return _table(("topic", "carries", "written by", "read by", "partitions", "kept"), rows)


def metrics() -> str:
    rows = []
    for module in _modules("metrics", shared_metrics):
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                family = metric.describe()[0]
                name = family.name + ("_total" if family.type == "counter" else "")
                labels = ", ".join(metric._labelnames) or "-"
                rows.append((f"`{name}`", family.type, labels, family.documentation))
    return _table(("metric", "kind", "labels", "meaning"), sorted(set(rows)))


def settings() -> str:
    rows = []
    for module in _modules("settings", shared_settings):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, EnvironmentSettings) and value is not EnvironmentSettings:
                rows += list(_settings_of(value))
    return _table(("setting", "default", "meaning"), list(dict.fromkeys(rows)))


def _settings_of(owner: type[EnvironmentSettings]) -> Iterator[tuple[str, str, str]]:
    prefix = owner.model_config.get("env_prefix", "")
    for name, field in owner.model_fields.items():
        default = "required" if field.default is PydanticUndefined else f"`{field.default}`"
        yield f"`{prefix}{name.upper()}`", "empty" if default == "``" else default, field.description or ""


def _modules(name: str, shared: ModuleType) -> Iterable[ModuleType]:
    yield shared
    for service in pkgutil.iter_modules(services.__path__, "services."):
        package = importlib.import_module(service.name)
        if any(m.name == name for m in pkgutil.iter_modules(package.__path__)):
            yield importlib.import_module(f"{service.name}.{name}")


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines)


TABLES = {"topics": topics, "metrics": metrics, "settings": settings}


def with_tables(text: str) -> str:
    """The README with each table between its markers replaced by the one made now."""
    for name, make in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        assert pattern.search(text), f"README has no <!-- {name} --> ... <!-- /{name} -->"
        text = pattern.sub(lambda m, made=make(): f"{m[1]}{made}\n{m[2]}", text)
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text("utf-8")), "utf-8")
