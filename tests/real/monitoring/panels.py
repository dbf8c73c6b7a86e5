"""A dashboard's panels with what their queries find in a real Prometheus."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.real.monitoring.fast_monitoring import Monitoring


@dataclass(frozen=True)
class Series:
    name: str
    points: list[tuple[float, float]]  # seconds since the beginning, value; no NaN


@dataclass(frozen=True)
class PanelData:
    title: str
    kind: str  # timeseries or stat
    unit: str
    place: dict[str, int]
    stacked: bool = False
    colour: str = "text"
    series: list[Series] = field(default_factory=list)
    figure: float = math.nan
    words: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)  # queries that found nothing but NaN


@dataclass(frozen=True)
class BoardData:
    title: str
    began: float
    ended: float
    panels: list[PanelData]
    versions: list[tuple[float, str]]  # when one began to serve


def board_data(path: Path, watching: Monitoring, began: float, ended: float, step: float = 1.0) -> BoardData:
    board = json.loads(path.read_text("utf-8"))
    asked = _Asked(watching, began, ended, step)
    panels = [asked.panel(panel) for panel in board["panels"]]
    return BoardData(board["title"], began, ended, panels, list(asked.versions(board["annotations"]["list"][0])))


@dataclass(frozen=True)
class _Asked:
    watching: Monitoring
    began: float
    ended: float
    step: float

    def panel(self, panel: dict[str, Any]) -> PanelData:
        defaults = panel["fieldConfig"]["defaults"]
        known: dict[str, Any] = {
            "title": panel["title"],
            "kind": panel["type"],
            "unit": defaults.get("unit", "short"),
            "place": panel["gridPos"],
        }
        if panel["type"] == "stat":
            return self._stat(panel, known)
        stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
        found = {target["expr"]: list(self._curves(target)) for target in panel["targets"]}
        series = [one for many in found.values() for one in many]
        return PanelData(**known, stacked=stacked, series=series, empty=[q for q, many in found.items() if not many])

    def versions(self, mark: dict[str, Any]) -> Iterator[tuple[float, str]]:
        for series in self.watching.over(self._filled(mark["expr"]), self.began, self.ended, self.step):
            yield float(series["values"][0][0]), _legend(mark["textFormat"], series["metric"])

    def _stat(self, panel: dict[str, Any], known: dict[str, Any]) -> PanelData:
        (target,) = panel["targets"]
        found = self.watching.now(self._filled(target["expr"]), self.ended)
        figures = [float(series["value"][1]) for series in found if not math.isnan(float(series["value"][1]))]
        if not figures:
            return PanelData(**known, empty=[target["expr"]])
        words = [_legend(target["legendFormat"], s["metric"]) for s in found] if target["legendFormat"] else []
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        colour = [s["color"] for s in steps if s["value"] is None or round(figures[0], 6) >= s["value"]][-1]
        return PanelData(**known, figure=figures[0], words=words, colour=colour)

    def _curves(self, target: dict[str, Any]) -> Iterator[Series]:
        for series in self.watching.over(self._filled(target["expr"]), self.began, self.ended, self.step):
            values = [(float(t) - self.began, float(v)) for t, v in series["values"]]
            points = [(t, v) for t, v in values if math.isfinite(v)]
            if points:
                yield Series(_legend(target["legendFormat"], series["metric"]), points)

    def _filled(self, expression: str) -> str:
        # What Grafana would put in, for scrapes that come every second and a range of minutes.
        variables = {"$__rate_interval": "5s", "$__range": f"{math.ceil(self.ended - self.began)}s", "$workload": ".*"}
        for variable, value in variables.items():
            expression = expression.replace(variable, value)
        assert "$" not in expression, expression
        return expression


def _legend(pattern: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        pattern = pattern.replace(f"{{{{{name}}}}}", value)
    return pattern
