"""Prometheus and Alertmanager of a test, with this project's own rules and configuration, on a faster clock.

Every window, offset, `for` and interval of the rules is divided by RULES_FASTER; every wait of Alertmanager by
NOTIFIES_FASTER, so that it repeats itself within a test. Nothing else is changed.
"""

import json
import math
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from infra.native import alertmanager, prometheus
from shared.processes import free_ports
from tests.loop.deployment import until

RULES_FASTER, NOTIFIES_FASTER = 120, 600
SCRAPE = "1s"
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def faster(duration: str, times: int) -> str:
    number, unit = re.fullmatch(r"(\d+)([smhd])", duration).groups()  # type: ignore[union-attr]
    return f"{max(1, round(int(number) * _UNITS_MS[unit] / times))}ms"


def faster_rules(text: str) -> dict[str, Any]:
    def shorter(found: re.Match[str]) -> str:
        return found[1] + faster(found[2], RULES_FASTER) + found[3]

    rules: dict[str, Any] = yaml.safe_load(text)
    for group in rules["groups"]:
        group |= {"interval": faster(group["interval"], RULES_FASTER)} if "interval" in group else {}
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"(\[)(\d+[smhd])(\])", shorter, rule["expr"])
            rule["expr"] = re.sub(r"(offset )(\d+[smhd])(\b)", shorter, rule["expr"])
            rule |= {"for": faster(rule["for"], RULES_FASTER)} if "for" in rule else {}
    return rules


class Monitoring:
    def __init__(self, prometheus_port: int) -> None:
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{prometheus_port}/api/v1", timeout=30)

    def now(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """An instant query's series, each with `metric` and `value`."""
        return self._asked("query", {"query": expression} | ({"time": at} if at else {}))

    def figure(self, expression: str) -> float:
        """The value of a query that finds one series; NaN when it finds none."""
        found = self.now(expression)
        return float(found[0]["value"][1]) if found else math.nan

    def over(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """A range query's series, each with `metric` and `values`."""
        return self._asked("query_range", {"query": expression, "start": start, "end": end, "step": step})

    def close(self) -> None:
        self._http.close()

    def _asked(self, path: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = self._http.post(f"/{path}", data=dict(parameters))
        assert answer.status_code == 200, f"{parameters['query']}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


@contextmanager
def monitoring(folder: Path, services: Mapping[str, str], token: str) -> Iterator[Monitoring]:
    """services: host:port of each of ours. Both servers are stopped at the end."""
    ports = dict(zip(("prometheus", "alertmanager"), free_ports(2), strict=True))
    rules, token_file = folder / "rules", folder / "alert-token"
    rules.mkdir(parents=True)
    for file in prometheus.RULES.glob("*.yml"):
        (rules / file.name).write_text(yaml.safe_dump(faster_rules(file.read_text("utf-8"))), "utf-8")
    token_file.write_text(token)
    scraped: Any = prometheus.configuration(lambda n: f"127.0.0.1:{ports[n]}", lambda n: services[n], f"{rules}/*.yml")
    scraped["global"] = {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE, "scrape_timeout": SCRAPE}
    told: Any = alertmanager.configuration(f"http://{services['scheduler']}", str(token_file))
    for route in (told["route"], *told["route"]["routes"]):
        route |= {
            k: faster(v, NOTIFIES_FASTER)
            for k, v in route.items()
            if k.startswith(("group_", "repeat_")) and k != "group_by"
        }
    (folder / "prometheus.yml").write_text(json.dumps(scraped))
    (folder / "alertmanager.yml").write_text(json.dumps(told))
    with ExitStack() as stack:
        for name, command in _commands(folder, ports).items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            ready = f"http://127.0.0.1:{ports[name]}/-/ready"
            until(lambda url=ready: httpx.get(url).status_code == 200, f"{name} is ready; its log: {log.name}", 30)
        watching = Monitoring(ports["prometheus"])
        stack.callback(watching.close)
        # A few seconds: what happened before the first scrape is no increase to anybody.
        until(lambda: watching.figure("count(up == 1)") == len(scraped["scrape_configs"]), "all are scraped", 30)
        yield watching


def _commands(folder: Path, ports: Mapping[str, int]) -> dict[str, list[str]]:
    return {
        "alertmanager": [
            "prometheus-alertmanager",
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'silences'}",
            f"--web.listen-address=127.0.0.1:{ports['alertmanager']}",
            "--cluster.listen-address=",
        ],
        "prometheus": [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'series'}",
            f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
        ],
    }
