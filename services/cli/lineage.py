"""`ratchet lineage ID`: answer -> version -> run -> snapshot -> examples -> corrections -> samples, a walk over ids.

Each step asks the service that owns it. A step that is gone (an answer of the bare base has no run) ends its branch and
says so; a service that is down is Unavailable.
"""

from dataclasses import dataclass, field
from typing import Any

from rich.text import Text
from rich.tree import Tree

from shared.artifacts import path_of, read_manifest
from shared.calls import Caller
from shared.errors import ArtifactInvalid, Unusable
from shared.ids import workload_of
from shared.plain import shown
from shared.settings import SharedSettings


@dataclass
class Step:
    """One thing in the walk: what it is, its id, a sentence about it, and what it came from."""

    kind: str
    id: str
    says: str
    origins: list["Step"] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "id": self.id, "says": self.says, "origins": [o.as_dict() for o in self.origins]}


class Lineage:
    def __init__(self, settings: SharedSettings, most_examples: int) -> None:
        self._annotation = Caller(settings.url_of("annotation"))
        self._promotion = Caller(settings.url_of("promotion"))
        self._most = most_examples

    def of(self, some_id: str) -> Step:
        """From an answer, a version, an example or a correction; Unusable when nobody knows the id."""
        if _is_version(some_id):
            return self._version(some_id)
        for step in (self._answer, self._example, self._correction):
            try:
                return step(some_id)
            except Unusable as error:
                if " 404" not in str(error):
                    raise
        raise Unusable(
            f"{some_id} is no answer, version, example or correction known here; an answer's id is in its "
            "x-ratchet-answer-id header and can be looked up a second after the answer"
        )

    def _answer(self, answer_id: str) -> Step:
        sample = self._annotation.get(f"/v1/samples/{answer_id}")
        says = f"{sample['workload']}, answered {sample['served_at']}: {_short(sample['answer'])}"
        return Step("answer", answer_id, says, [self._version(sample["version"])])

    def _version(self, version: str) -> Step:
        model = self._promotion.get(f"/v1/models/{version}")
        says = f"{model['stage']}, base {model['base']}"
        if model.get("verdict"):
            says += f"; {model['verdict']}: {'; '.join(model.get('reasons') or [])}"
        if not model.get("run_uri"):
            return Step("version", version, f"{says}; the bare base, nothing was trained")
        return Step("version", version, says, [self._run(model)])

    def _run(self, model: dict[str, Any]) -> Step:
        folder = path_of(model["run_uri"])
        try:
            manifest = read_manifest(folder)
        except ArtifactInvalid as error:
            return Step("run", folder.name, f"its folder cannot be read: {error}")
        says = f"preset {model['preset']}, seed {manifest.get('seed')}, {manifest.get('steps')} steps, "
        says += f"{manifest.get('examples')} examples, final loss {_figure(manifest.get('final_loss'))}"
        return Step("run", folder.name, says, [self._snapshot(model)])

    def _snapshot(self, model: dict[str, Any]) -> Step:
        folder = path_of(model["snapshot_uri"])
        try:
            manifest = read_manifest(folder)
        except ArtifactInvalid as error:
            return Step("snapshot", model["snapshot_id"], f"its folder cannot be read: {error}")
        ids = manifest["example_ids"]
        says = f"{len(ids)} examples in {manifest.get('groups')} groups"
        if len(ids) > self._most:
            says += f"; the first {self._most} follow"
        return Step("snapshot", model["snapshot_id"], says, [self._example(i) for i in ids[: self._most]])

    def _example(self, example_id: str) -> Step:
        example = self._annotation.get(f"/v1/examples/{example_id}")
        says = f"{example['kind']}, {example['split']}, {example['state']}"
        return Step("example", example_id, says, [self._correction(example["correction_id"])])

    def _correction(self, correction_id: str) -> Step:
        correction = self._annotation.get(f"/v1/corrections/{correction_id}")
        reasons = ", ".join(correction["reasons"]) or "no reason given"
        says = f"{correction['verdict']} by {correction['annotator']} at {correction['corrected_at']}, {reasons}"
        if correction["ideal"] is not None:
            says += f": {_short(correction['ideal'])}"
        sample = self._annotation.get(f"/v1/samples/{correction['sample_id']}")
        origin = Step("sample", correction["sample_id"], f"answered by {sample['version']}: {_short(sample['answer'])}")
        return Step("correction", correction_id, says, [origin])


def drawn(step: Step) -> Tree:
    tree = Tree(_line(step))
    _grow(tree, step)
    return tree


def _grow(tree: Tree, step: Step) -> None:
    for origin in step.origins:
        _grow(tree.add(_line(origin)), origin)


def _line(step: Step) -> Text:
    return Text.assemble((f"{step.kind} ", "bold"), (shown(step.id), "cyan"), f"  {shown(step.says)}")


def _is_version(text: str) -> bool:
    try:
        workload_of(text)
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 90 else flat[:87] + "..."


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "unknown"
