"""Draws a dashboard from Grafana's own JSON and a Prometheus, for docs/dashboards.md: there is no Grafana here.

Only what our dashboards use: `timeseries` and `stat` panels on the grid, lines where a version began to serve.
"""

import io
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from tests.real.monitoring.panels import BoardData, PanelData, Series

# Okabe and Ito: told apart by colour-blind people.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
STATES = {"green": "#2f7d4f", "red": "#c0392b", "text": "#ffffff"}
INK, PALE, EDGE = "#1f2933", "#6b7785", "#d5dbe1"
CELL_WIDTH, CELL_HEIGHT, DPI = 0.62, 0.37, 100


def draw(board: BoardData, path: Path) -> None:
    rows = max(panel.place["y"] + panel.place["h"] for panel in board.panels)
    width, height = 24 * CELL_WIDTH, rows * CELL_HEIGHT + 0.6
    figure = pyplot.figure(figsize=(width, height), dpi=DPI, facecolor="#f4f6f8")
    figure.text(0.008, 1 - 0.38 / height, board.title, fontsize=15, color=INK, weight="bold")
    for panel in board.panels:
        axes = _card(figure, panel.place, width, height)
        if panel.kind == "stat":
            _stat(axes, panel)
        else:
            _curves(axes, panel, board)
    _save(figure, path)


def _card(figure: Figure, place: dict[str, int], width: float, height: float) -> Axes:
    """The panel's white card; axes that fill it, in the card's own 0-1."""
    left, top = place["x"] * CELL_WIDTH + 0.05, height - 0.55 - place["y"] * CELL_HEIGHT
    w, h = place["w"] * CELL_WIDTH - 0.1, place["h"] * CELL_HEIGHT - 0.1
    card = figure.add_axes((left / width, (top - h) / height, w / width, h / height))
    card.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    card.set_facecolor("white")
    for spine in card.spines.values():
        spine.set_color(EDGE)
    return card


def _title(card: Axes, text: str, colour: str = INK) -> None:
    inches = card.get_window_extent().height / DPI
    card.text(
        0.10 / _inches_wide(card), 1 - 0.2 / inches, text, fontsize=9.5, color=colour, va="center", weight="medium"
    )


def _inches_wide(card: Axes) -> float:
    return float(card.get_window_extent().width / DPI)


def _stat(card: Axes, panel: PanelData) -> None:
    colour = STATES[panel.colour]
    on_colour = panel.colour != "text"
    if on_colour:
        card.set_facecolor(colour)
    ink = "white" if on_colour else INK
    _title(card, panel.title, ink)
    lines = (
        panel.words
        if panel.words
        else [in_unit(float(round(panel.figure)) if panel.unit == "short" else panel.figure, panel.unit)]
    )
    size = 24 if not panel.words else 12
    card.text(0.5, 0.40, "\n".join(lines[:3]), fontsize=size, color=ink, ha="center", va="center")


def _curves(card: Axes, panel: PanelData, board: BoardData) -> None:
    _title(card, panel.title)
    figure, box = card.figure, card.get_position()
    wide, high = _inches_wide(card), card.get_window_extent().height / DPI
    rows = math.ceil(len(panel.series) / max(1, int(wide / 2.2)))
    bottom, left = (0.34 + 0.19 * rows) / high, 0.52 / wide
    inner = (
        box.x0 + box.width * left,
        box.y0 + box.height * bottom,
        box.width * (1 - left - 0.12 / wide),
        box.height * (1 - bottom - 0.36 / high),
    )
    axes = figure.add_axes(inner)
    _lines(axes, panel)
    for moment, version in board.versions:
        axes.axvline(moment - board.began, color="#7b4fa3", linewidth=1, linestyle=(0, (3, 2)))
        if board.began + 2 < moment:
            axes.annotate(
                version.split("@")[-1][:8],
                (moment - board.began, 0.97),
                xycoords=("data", "axes fraction"),
                fontsize=6.5,
                color="#7b4fa3",
                rotation=90,
                va="top",
                ha="right",
            )
    axes.set_xlim(0, board.ended - board.began)
    counts = all(value == round(value) for series in panel.series for _, value in series.points)
    axes.set_ylim(0, max(_top(panel) * 1.08, 1.08 if counts or panel.unit == "percentunit" else 1e-3))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=counts))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: in_unit(value, panel.unit)))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02d}"))
    axes.tick_params(labelsize=7.5, colors=PALE, length=0)
    axes.grid(axis="y", color="#e8ecf0", linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(EDGE)
    handles, labels = axes.get_legend_handles_labels()
    card.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0.0, 0.0),
        ncols=max(1, math.ceil(len(labels) / max(1, rows))),
        fontsize=7.5,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.2,
        labelcolor=INK,
        borderaxespad=0.3,
        labelspacing=0.25,
    )


def _lines(axes: Axes, panel: PanelData) -> None:
    if panel.stacked:
        times = sorted({moment for series in panel.series for moment, _ in series.points})
        layers = [[dict(series.points).get(moment, 0.0) for moment in times] for series in panel.series]
        colours = COLOURS[: len(layers)]
        axes.stackplot(times, layers, labels=[s.name for s in panel.series], colors=colours, alpha=0.75, linewidth=0)
        return
    for number, series in enumerate(panel.series):
        colour = COLOURS[number % len(COLOURS)]
        style = "-" if number < len(COLOURS) else "--"
        axes.plot(*_with_gaps(series), color=colour, linewidth=1.5, linestyle=style, label=series.name)


def _with_gaps(series: Series) -> tuple[list[float], list[float]]:
    """A hole of more than three steps is shown as one."""
    times, values = [], []
    steps = [b[0] - a[0] for a, b in zip(series.points, series.points[1:], strict=False)]
    usual = min(steps, default=1.0)
    for moment, value in series.points:
        if times and moment - times[-1] > 3 * usual:
            times.append(moment)
            values.append(math.nan)
        times.append(moment)
        values.append(value)
    return times, values


def _top(panel: PanelData) -> float:
    return max((value for series in panel.series for _, value in series.points), default=0.0)


def in_unit(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.0%}"
    if unit == "s":
        return (
            f"{value:.0f} s"
            if value >= 10 or value == 0
            else f"{value:.1f} s"
            if value >= 1
            else f"{value * 1000:.0f} ms"
        )
    plain = (
        f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
    )
    return f"{plain}/s" if unit == "reqps" else plain


def _save(figure: Figure, path: Path) -> None:
    """Few colours make small files; the numbers in it change with every drawing anyway."""
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=DPI)
    pyplot.close(figure)
    image: Any = Image.open(held).convert("RGB").quantize(colors=128, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)
