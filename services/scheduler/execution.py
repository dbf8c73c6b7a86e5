"""One attempt of one job: prepare, start the child, watch it; how it ended is written by `endings`.

Twice: an output that is already sealed is taken as it is, so a worker that died after its child had finished costs
       nothing and the event is emitted once, with the job's token.
Fails: a worker that cannot renew its lease ends its child and writes nothing more.
"""

import json
import logging
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

from services.scheduler import endings, jobs
from services.scheduler.heartbeat import Heartbeat
from services.scheduler.jobs import Claim
from services.scheduler.launcher import Child
from services.scheduler.metrics import CHILD_SILENCE, LOST_LEASES
from services.scheduler.orders import (
    TrainOrder,
    adapter_of,
    evaluate_arguments,
    kind_of,
    train_arguments,
)
from services.scheduler.reading import Silence
from services.scheduler.workshop import Workshop
from shared.artifacts import path_of, verify
from shared.errors import ArtifactInvalid, Unusable

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2


class Silent(Exception):
    """The child showed no progress for too long; it has been ended."""


class Stopped(Exception):
    """This process is asked to stop; the child has been ended."""


def execute(shop: Workshop, claim: Claim) -> None:
    """Makes the attempt and leaves the job done, queued again, failed, or to the worker that took it."""
    try:
        with Heartbeat(shop, claim) as heartbeat:
            endings.persist(shop, _attempt(shop, claim, heartbeat))
    except jobs.LeaseLost as error:
        LOST_LEASES.inc()
        log.warning("%s", error)


def _attempt(shop: Workshop, claim: Claim, heartbeat: Heartbeat) -> endings.Ending:
    try:
        return _work(shop, claim, heartbeat)
    except Stopped:
        return partial(endings.release, shop, claim)
    except Silent as error:
        return partial(endings.try_again, shop, claim, str(error), endings.SILENT)
    except Unusable as error:  # what the order names cannot be used; the child would say so with status 2
        return partial(endings.fail, shop, claim, str(error))
    except OSError as error:
        return partial(endings.try_again, shop, claim, f"the attempt cannot be made: {error}", endings.RESOURCES)


def _work(shop: Workshop, claim: Claim, heartbeat: Heartbeat) -> endings.Ending:
    if claim.left_behind is not None:
        shop.launcher.end(claim.left_behind)
    if (sealed := endings.sealed_output(shop, claim)) is not None:
        return partial(endings.complete, shop, claim, sealed)
    _check_inputs(claim)
    shop.folder_of(claim).mkdir(parents=True, exist_ok=True)
    command = _command(shop, claim)
    with shop.log_of(claim).open("a", encoding="utf-8") as text:
        print(f"--- attempt {claim.attempt}: {shlex.join(command)}", file=text)
    child = shop.launcher.start(command, shop.log_of(claim))
    try:
        heartbeat.tells(child.ref)
        status = _watch(shop, claim, heartbeat, child)
    finally:
        child.stop(0.0)  # harmless when it has ended
        CHILD_SILENCE.labels(kind_of(claim.order)).set(0)
    return endings.of_child(shop, claim, status)


def _check_inputs(claim: Claim) -> None:
    """Every file against its manifest: a corrupted snapshot or adapter fails the job before minutes are spent."""
    order = claim.order
    if isinstance(order, TrainOrder):
        verify(path_of(order.snapshot_uri), "snapshot")
        return
    verify(path_of(order.holdout_uri), "snapshot")
    for scored in order.versions:
        if scored.run_uri is not None:
            verify(path_of(scored.run_uri), "run")
            if not adapter_of(scored.run_uri).is_dir():
                raise ArtifactInvalid(f"{scored.run_uri} has no folder adapter/; {scored.version} cannot be evaluated")


def _command(shop: Workshop, claim: Claim) -> list[str]:
    out, metrics = shop.output_of(claim), shop.metrics_of(claim)
    if isinstance(claim.order, TrainOrder):
        program = shlex.split(shop.settings.train_command) or [sys.executable, "-m", "training.run"]
        return program + train_arguments(claim.order, out=out, metrics=metrics)
    program = shlex.split(shop.settings.evaluate_command) or [sys.executable, "-m", "training.evaluate"]
    folder = shop.folder_of(claim)
    schema = _write(claim.order.answer_schema, folder / "answer_schema.json")
    scorer_options = _write(claim.order.scorer_options or None, folder / "scorer_options.json")
    return program + evaluate_arguments(
        claim.order, out=out, metrics=metrics, schema=schema, scorer_options=scorer_options
    )


def _write(table: dict[str, Any] | None, file: Path) -> Path | None:
    """In a file, since an argument may not be long."""
    if table is None:
        return None
    file.write_text(json.dumps(table), encoding="utf-8")
    return file


def _watch(shop: Workshop, claim: Claim, heartbeat: Heartbeat, child: Child) -> int:
    """The child's exit status. Raises Stopped, Silent or LeaseLost; the child has ended then."""
    silence = Silence(shop.metrics_of(claim))
    while (status := child.wait(_LOOK_SECONDS)) is None:
        CHILD_SILENCE.labels(kind_of(claim.order)).set(silence.seconds())
        if heartbeat.lost is not None:
            child.stop(0.0)  # another worker may start its own any moment
            raise heartbeat.lost
        if shop.stopping.is_set():
            child.stop(shop.settings.stop_grace_seconds)
            raise Stopped
        if silence.seconds() > shop.settings.silence_seconds:
            child.stop(shop.settings.stop_grace_seconds)
            raise Silent(f"the child showed no progress for {shop.settings.silence_seconds:g} s and was ended")
    return status
