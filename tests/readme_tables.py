"""The README's tables: topics, metrics and settings from the code, the demo's figures from a demo's own file.

`python -m tests.readme_tables` writes them into README.md; `test_readme.py` fails when they differ. With the path of a
`demo.json` that `ratchet demo` wrote it takes those figures first.
"""

import importlib
import json
import pkgutil
import re
import shutil
import sys
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
DEMO = README.parent / "benchmarks" / "results" / "demo.json"


def topics() -> str:
    rows = [(f"`{t.name}`", t.carries, t.written_by, t.read_by, t.partitions, f"{t.retention_days} d") for t in TOPICS]
    return _table(("topic", "carries", "written by", "read by", "partitions", "kept"), rows)


def metrics() -> str:
    rows = []
    for module in modules("metrics", shared_metrics):
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                family = metric.describe()[0]
                name = family.name + ("_total" if family.type == "counter" else "")
                labels = ", ".join(metric._labelnames) or "-"
                rows.append((f"`{name}`", family.type, labels, family.documentation))
    return _table(("metric", "kind", "labels", "meaning"), sorted(set(rows)))


def settings() -> str:
    rows = []
    for module in modules("settings", shared_settings):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, EnvironmentSettings) and value is not EnvironmentSettings:
                rows += list(_settings_of(value))
    return _table(("setting", "default", "meaning"), list(dict.fromkeys(rows)))


def demo() -> str:
    figures = json.loads(DEMO.read_text("utf-8"))
    careless, promoted = figures["verdicts"]
    rows = [
        (f"held-out tickets exactly right ({figures['groups']} groups)", *_shares("champion_exact", "candidate_exact")),
        ("their fields right", "", *_shares("candidate_fields")),
        ("general suite exactly right", *_shares("general_champion", "general_candidate")),
        ("fresh tickets nobody corrected, exactly right", *_shares("fresh_before_exact", "fresh_after_exact")),
    ]
    after = (
        f"The careless candidate: {figures['careless_exact']:.1%} of the held-out tickets, but "
        f"{figures['careless_general']:.1%} of the general suite: {careless['verdict']}. The default one: mid-p "
        f"McNemar p = {figures['mcnemar_p']:.1g}: {promoted['verdict']}. {figures['requests']} requests in all; of the "
        f"{figures['swap_requests']} during the swap {figures['swap_failed_requests']} failed. "
        f"{figures['seconds']:.0f} seconds on {figures['machine']}, seed {figures['seed']}."
    )
    return _table(("", "before", "after"), rows) + f"\n\n{after}"


def _shares(*names: str) -> list[str]:
    figures = json.loads(DEMO.read_text("utf-8"))
    return [f"{figures[name]:.1%}" for name in names]


def _settings_of(owner: type[EnvironmentSettings]) -> Iterator[tuple[str, str, str]]:
    prefix = owner.model_config.get("env_prefix", "")
    for name, field in owner.model_fields.items():
        default = "required" if field.default is PydanticUndefined else f"`{field.default}`"
        yield f"`{prefix}{name.upper()}`", "empty" if default == "``" else default, field.description or ""


def modules(name: str, shared: ModuleType) -> Iterable[ModuleType]:
    yield shared
    for service in pkgutil.iter_modules(services.__path__, "services."):
        package = importlib.import_module(service.name)
        if any(m.name == name for m in pkgutil.iter_modules(package.__path__)):
            yield importlib.import_module(f"{service.name}.{name}")


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines)


TABLES = {"demo": demo, "topics": topics, "metrics": metrics, "settings": settings}


def with_tables(text: str) -> str:
    """The README with each table between its markers replaced by the one made now."""
    for name, make in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        assert pattern.search(text), f"README has no <!-- {name} --> ... <!-- /{name} -->"
        text = pattern.sub(lambda m, made=make(): f"{m[1]}{made}\n{m[2]}", text)
    return text


if __name__ == "__main__":
    if len(sys.argv) > 1:
        shutil.copyfile(sys.argv[1], DEMO)
    README.write_text(with_tables(README.read_text("utf-8")), "utf-8")
