"""The desk's calls without the rest of annotation: a FastAPI app over a dictionary, for looking at the page alone."""

from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles

from tests.services.annotation.desk_page.screen import PAGE

REASONS = [
    {"value": "format", "label": "format"},
    {"value": "tone", "label": "tone"},
    {"value": "wrong", "label": "wrong"},
    {"value": "knowledge", "label": "missing or stale knowledge"},
]


def desk_app(items: list[dict[str, Any]], schema: dict[str, Any] | None = None) -> FastAPI:
    app = FastAPI()
    by_id = {item["sample_id"]: item for item in items}
    verdicts: dict[str, dict[str, Any]] = {}

    def waiting(workload: str) -> list[dict[str, Any]]:
        return [i for i in by_id.values() if i["workload"] == workload and i["sample_id"] not in verdicts]

    def progress(workload: str) -> dict[str, int]:
        done = len(verdicts)
        left = len(waiting(workload))
        return {
            "waiting": left,
            "done_today": done,
            "done": done + 212,
            "budget": 40,
            "examples": done + 204,
        }

    @app.get("/v1/desk/workloads")
    def workloads() -> Any:
        names = sorted({i["workload"] for i in by_id.values()})
        return {
            "workloads": [
                {"name": n, "answer_schema": schema, "waiting": len(waiting(n)), "reasons": REASONS} for n in names
            ]
        }

    @app.get("/v1/desk/next")
    def next_item(workload: str, annotator: str = "", after: str = "") -> Any:
        ids = list(by_id)
        start = ids.index(after) + 1 if after in by_id else 0
        found = next((i for i in waiting(workload) if ids.index(i["sample_id"]) >= start), None)
        return {"item": found, "progress": progress(workload)}

    @app.get("/v1/desk/items/{sample_id}")
    def item(sample_id: str) -> Any:
        if sample_id not in by_id:
            raise HTTPException(404, "no such item")
        verdict = verdicts.get(sample_id, {}).get("verdict")
        return {**by_id[sample_id], "state": "done" if verdict else "waiting", "verdict": verdict}

    @app.post("/v1/desk/items/{sample_id}/verdict", status_code=201)
    def verdict(sample_id: str, body: dict[str, Any]) -> Any:
        verdicts[sample_id] = body
        return {"correction_id": f"c-{sample_id}", "progress": progress(by_id[sample_id]["workload"])}

    @app.get("/")
    def root() -> RedirectResponse:
        return RedirectResponse("desk/")

    app.mount("/desk", StaticFiles(directory=PAGE, html=True))
    return app
