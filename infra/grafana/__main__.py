"""`python -m infra.grafana`: writes dashboards/*.json, which Grafana reads; a test compares them with the code."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from infra.grafana import annotation, drift, gateway, loop, promotion

FOLDER = Path(__file__).parent / "dashboards"
DASHBOARDS = {
    "loop": loop.dashboard,
    "gateway": gateway.dashboard,
    "annotation": annotation.dashboard,
    "promotion": promotion.dashboard,
    "drift": drift.dashboard,
}


def made() -> dict[Path, str]:
    texts = {name: json.dumps(make(), cls=JSONEncoder, indent=1, sort_keys=True) for name, make in DASHBOARDS.items()}
    return {FOLDER / f"{name}.json": text + "\n" for name, text in texts.items()}


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, "utf-8")
