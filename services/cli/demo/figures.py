"""The demo's figures and its last page: before and after, the lineage of one answer, where everything is."""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.demo.application import Reply, fields_right, is_exact
from services.cli.demo.scenario import WORKLOAD
from services.cli.lineage import Lineage, drawn
from services.cli.plain import cell
from shared.errors import RatchetError
from shared.settings import SharedSettings


@dataclass(frozen=True)
class Figures:
    """careless, promoted: the data of the two promotion reports (services/promotion/report_data.py)."""

    before: list[Reply]
    after: list[Reply]
    careless: dict[str, Any]
    promoted: dict[str, Any]
    swap: list[Reply]
    requests: int
    seconds: float
    seed: int

    @property
    def as_expected(self) -> bool:
        return bool(self.careless["verdict"] == "REJECT" and self.promoted["verdict"] == "PROMOTE")

    def as_dict(self) -> dict[str, Any]:
        """Shares are 0-1, measured on the holdout and the general suite by the promoted candidate's evaluation."""
        holdout, general = self.promoted["holdout"], self.promoted["general"]
        return {
            "champion_exact": holdout["champion"]["exact"],
            "candidate_exact": holdout["candidate"]["exact"],
            "candidate_fields": holdout["candidate"]["fields"],
            "general_champion": general["champion"],
            "general_candidate": general["candidate"],
            "careless_exact": self.careless["holdout"]["candidate"]["exact"],
            "careless_general": self.careless["general"]["candidate"],
            "mcnemar_p": holdout["mcnemar_p"],
            "groups": holdout["groups"],
            "verdicts": [
                {"version": r["version"], "verdict": r["verdict"], "reasons": r["reasons"]}
                for r in (self.careless, self.promoted)
            ],
            "swap_failed_requests": sum(r.failed is not None for r in self.swap),
            "swap_requests": len(self.swap),
            "requests": self.requests,
            "seconds": round(self.seconds, 1),
            "seed": self.seed,
            "machine": f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}",
            "fresh_before_exact": _share(self.before, is_exact),
            "fresh_after_exact": _share(self.after, is_exact),
        }

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n", "utf-8")


def closing_page(console: Console, figures: Figures, settings: SharedSettings, folder: Path) -> None:
    figure = figures.as_dict()
    console.print(_before_and_after(figures))
    console.print(
        f"On the holdout ({figure['groups']} groups): exact {figure['champion_exact']:.1%} -> "
        f"{figure['candidate_exact']:.1%}, fields {figure['candidate_fields']:.1%}, mid-p McNemar p = "
        f"{figure['mcnemar_p']:.2g}. General suite: {figure['general_champion']:.1%} -> "
        f"{figure['general_candidate']:.1%}. {figure['requests']} requests in all; of {figure['swap_requests']} during "
        f"the swap {figure['swap_failed_requests']} failed. "
        f"{figure['seconds']:.0f} s.\n",
        highlight=False,
    )
    _show_lineage(console, figures, settings)
    console.print("\n[bold]Where everything is[/bold]")
    for report in (figures.careless, figures.promoted):
        path = settings.artifacts / "reports" / report["version"] / "report.html"
        console.print(Text(f"  {report['verdict']:<8} report: {path}"), soft_wrap=True)  # paths stay whole
    console.print(
        Text(f"  figures: {folder / 'demo.json'}\n  data folder: {folder}\n  log: {folder / 'up.log'}"), soft_wrap=True
    )


def how_to_call(console: Console, settings: SharedSettings) -> None:
    gateway, desk = settings.url_of("gateway"), settings.url_of("annotation")
    body = json.dumps({"model": WORKLOAD, "messages": [{"role": "user", "content": "Printer 7 jams again, says Ada."}]})
    console.print("\n[bold]Everything is running. Ctrl-C stops it.[/bold]")
    console.print(
        Text(
            f"""
curl -i {gateway}/v1/chat/completions -H 'content-type: application/json' \\
  -d '{body}'

from openai import OpenAI
client = OpenAI(base_url="{gateway}/v1", api_key="unused")
answer = client.chat.completions.create(model="{WORKLOAD}", messages=[{{"role": "user", "content": "..."}}])

Correct by hand: {desk}/desk
In another terminal, in the same settings:
  export {" ".join(f"RATCHET_{n.upper()}_PORT={getattr(settings, f'{n}_port')}" for n in _SERVICES)}
  export RATCHET_CONFIG={settings.config} RATCHET_DATA_DIR={settings.data_dir}
  ratchet status; ratchet models; ratchet rollback {WORKLOAD}
"""
        ),
        soft_wrap=True,
    )


_SERVICES = ("gateway", "model_server", "annotation", "scheduler", "promotion")


def _before_and_after(figures: Figures) -> Table:
    table = Table(title="\nFresh requests that nobody corrected", title_justify="left")
    for column in ("", "before", "after"):
        table.add_column(column, overflow="fold")
    table.add_row("model version", figures.before[-1].version, figures.after[-1].version)
    table.add_row("exact records", f"{_share(figures.before, is_exact):.1%}", f"{_share(figures.after, is_exact):.1%}")
    fields = [sum(fields_right(r) for r in replies) / len(replies) for replies in (figures.before, figures.after)]
    table.add_row("fields right", *[f"{f:.1%}" for f in fields])
    table.add_row("requests", str(len(figures.before)), str(len(figures.after)), end_section=True)
    for before, after in list(zip(figures.before, figures.after, strict=True))[:3]:
        table.add_row(cell(before.ticket.text), cell(before.answer), cell(after.answer), end_section=True)
    return table


def _show_lineage(console: Console, figures: Figures, settings: SharedSettings) -> None:
    reply = figures.after[0]
    console.print(f"[bold]Where one answer comes from[/bold] (ratchet lineage {reply.answer_id})")
    try:
        console.print(drawn(Lineage(settings, 2).of(reply.answer_id)))
    except RatchetError as error:
        console.print(Text(f"not to be had: {error}", style="yellow"))


def _share(replies: list[Reply], holds: Callable[[Reply], bool]) -> float:
    return sum(holds(r) for r in replies) / len(replies)
