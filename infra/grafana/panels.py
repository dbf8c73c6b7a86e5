"""The pieces every dashboard is made of. Grafana's builders are spoken here only.

A panel's description says what a person should read out of it. Each dashboard marks where a version began to serve.
"""

from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="prometheus")
# Where the version that serves was not there a minute ago.
VERSION_BEGAN = "ratchet_promotion_champion_info unless ratchet_promotion_champion_info offset 1m"
Panel = Builder[models.Panel]
Good = Literal["high", "low"]


@dataclass(frozen=True, slots=True)
class Query:
    expr: str
    legend: str = ""


def curves(
    title: str, unit: str, *queries: Query, about: str, width: int = 8, height: int = 7, stacked: bool = False
) -> Panel:
    """Lines over time, from 0 upwards. unit: one of Grafana's."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(height)
        .line_width(2)
        .fill_opacity(30 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    )
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    for number, query in enumerate(queries):
        panel.with_target(_target(query, "ABCDEFGH"[number]).range())
    return panel


def number(
    title: str,
    query: str,
    *,
    about: str,
    unit: str = "short",
    bound: float | None = None,
    good: Good = "low",
    width: int = 4,
) -> Panel:
    """One figure, now or over the whole range. bound: from there on it is bad (good="low") or well (good="high")."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .decimals(0)
        .span(width)
        .height(4)
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE if bound is None else common.BigValueColorMode.BACKGROUND)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(Query(query), "A").instant())
    )
    return panel.thresholds(_steps(bound, good))


def names(title: str, query: Query, *, about: str, width: int = 12) -> Panel:
    """The legends of what the query finds now, in words."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(width)
        .height(4)
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.NONE)
        .text_mode(common.BigValueTextMode.NAME)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(query, "A").instant())
        .thresholds(_steps(None, "low"))
    )


def board(uid: str, title: str, about: str, *panels: Panel, by_workload: bool = False) -> models.Dashboard:
    """by_workload: the queries name $workload, which is chosen at the top of the page."""
    made = (
        dashboards.Dashboard(title)
        .uid(f"ratchet-{uid}")
        .description(about)
        .tags(["ratchet"])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .annotation(_VersionMarks())
        .link(dashboards.DashboardLink("Ratchet").type(models.DashboardLinkType.DASHBOARDS).tags(["ratchet"]))
    )
    if by_workload:
        made.with_variable(_Workload())
    for panel in panels:
        made.with_panel(panel)
    return made.build()


class _VersionMarks(Builder[models.AnnotationQuery]):
    def build(self) -> models.AnnotationQuery:
        return _Marks(
            name="versions", datasource=SOURCE, enable=True, hide=False, icon_color="purple", expr=VERSION_BEGAN
        )


class _Marks(models.AnnotationQuery):
    """With what Grafana's Prometheus source reads beside the query and the builders leave out."""

    def to_json(self) -> dict[str, object]:
        words: dict[str, object] = {"titleFormat": "{{workload}}", "textFormat": "{{version}}", "step": "30s"}
        return super().to_json() | words


def _target(query: Query, ref_id: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref_id).datasource(SOURCE)


def _legend() -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _steps(bound: float | None, good: Good) -> dashboards.ThresholdsConfig:
    below, above = ("green", "red") if good == "low" else ("red", "green")
    steps = [models.Threshold(value=None, color=below if bound is not None else "text")]
    if bound is not None:
        steps.append(models.Threshold(value=bound, color=above))
    return dashboards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


class _Workload(Builder[models.VariableModel]):
    def build(self) -> models.VariableModel:
        made = (
            dashboards.QueryVariable("workload")
            .label("workload")
            .datasource(SOURCE)
            .query("label_values(ratchet_promotion_champion_info, workload)")
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .all_value(".*")
            .multi(True)
            .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
            .build()
        )
        made.auto = made.auto_min = made.auto_count = None  # of interval variables only
        return made
