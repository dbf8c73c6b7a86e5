"""Snapshots of house tickets, and a base small enough for any machine."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from shared import artifacts
from training.tiny.house import SYSTEM_PROMPT, ticket

MakeSnapshot = Callable[..., Path]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def house_row(seed: int) -> dict[str, object]:
    made = ticket(seed)
    messages = [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": made.text},
        {"role": "assistant", "content": made.answer},
    ]
    return {"id": f"ex-{seed:05d}", "group": f"group-{seed:05d}", "kind": "fix", "messages": messages}


@pytest.fixture
def snapshot(tmp_path: Path) -> MakeSnapshot:
    """Seals a snapshot of house tickets, or of the lines that were given."""

    def make(seeds: Sequence[int] = range(12), name: str = "snapshot", lines: Sequence[str] | None = None) -> Path:
        folder = tmp_path / name
        rows = [json.dumps(house_row(seed)) for seed in seeds] if lines is None else list(lines)
        with artifacts.writing(folder, "snapshot", {"snapshot_id": name, "split": "train"}) as draft:
            (draft / "examples.jsonl").write_text("".join(row + "\n" for row in rows))
        return folder

    return make
