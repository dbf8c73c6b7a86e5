"""How an attempt ends, and writing it down with the job's token.

Emits: CandidateTrained, VersionsEvaluated; JobFailed through the job table
Fails: the child's exit status decides. 0 done; 2 bad input: failed at once; 3 out of resources: later again; anything
       else, or a signal: again, from its last checkpoint. After the last attempt the job is failed and reported.
"""

import json
import logging
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

from services.scheduler import jobs
from services.scheduler.consumer import SERVICE
from services.scheduler.jobs import Claim
from services.scheduler.metrics import JOB_SECONDS
from services.scheduler.orders import TrainOrder, kind_of, version_names
from services.scheduler.reading import last_line_of_json, last_sentence
from services.scheduler.workshop import Workshop
from shared.artifacts import uri_of, verify
from shared.db import transaction
from shared.errors import ArtifactInvalid, Unavailable
from shared.events import CandidateTrained, Event, VersionsEvaluated
from shared.ids import version_name
from shared.outbox import Outbox

log = logging.getLogger(__name__)

BAD_INPUT, OUT_OF_RESOURCES = 2, 3  # exit statuses of a child
DIED, RESOURCES, NO_OUTPUT, SILENT = "died", "resources", "no_output", "silent"  # why an attempt is made again

Ending = Callable[[], None]


def of_child(shop: Workshop, claim: Claim, status: int) -> Ending:
    """The ending that a child's exit status means."""
    if status == 0:
        if (sealed := sealed_output(shop, claim)) is not None:
            return partial(complete, shop, claim, sealed)
        return partial(try_again, shop, claim, "the child ended well but left no valid output", NO_OUTPUT)
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    why = f"the child {ended}: {last_sentence(shop.log_of(claim)) or 'it said nothing'}"
    if status == BAD_INPUT:
        return partial(fail, shop, claim, why)
    return partial(try_again, shop, claim, why, RESOURCES if status == OUT_OF_RESOURCES else DIED)


def sealed_output(shop: Workshop, claim: Claim) -> dict[str, Any] | None:
    """The manifest of the finished output, every file verified; None when there is none.

    A run whose manifest does not name its adapter is none: no version could be called after it.
    """
    kind = "run" if isinstance(claim.order, TrainOrder) else "evaluation"
    try:
        manifest = verify(shop.output_of(claim), kind)
    except ArtifactInvalid:
        return None
    return None if kind == "run" and len(str(manifest.get("adapter_sha256", ""))) < 16 else manifest


def complete(shop: Workshop, claim: Claim, manifest: dict[str, Any]) -> None:
    result, event = _made(shop, claim, manifest)
    now = shop.clock()
    facts: dict[str, Any] = {}
    if (progress := last_line_of_json(shop.metrics_of(claim))) is not None:
        facts["progress"] = progress
    with transaction(shop.engine) as session:
        jobs.complete(session, Outbox(session, SERVICE), claim, result=result, event=event, now=now, **facts)
    JOB_SECONDS.labels(kind_of(claim.order)).observe(now - claim.started_at)
    log.info("job %s is done: %s", claim.job_id, json.dumps(result)[:500])
    shop.committed()
    _clear_leftovers(shop, claim)


def try_again(shop: Workshop, claim: Claim, error: str, cause: str) -> None:
    """Later, unless this was the last attempt."""
    settings = shop.settings
    if claim.attempt >= settings.max_attempts:
        fail(shop, claim, error)
        return
    pause = settings.resources_retry_seconds if cause == RESOURCES else settings.retry_seconds
    not_before = shop.clock() + pause * 2 ** (claim.attempt - 1)
    log.warning("job %s, attempt %d: %s; it is tried again", claim.job_id, claim.attempt, error)
    with transaction(shop.engine) as session:
        jobs.retry(session, claim, error=error, cause=cause, not_before=not_before)


def fail(shop: Workshop, claim: Claim, error: str) -> None:
    log.error("job %s failed at attempt %d: %s", claim.job_id, claim.attempt, error)
    with transaction(shop.engine) as session:
        jobs.fail(session, Outbox(session, SERVICE), claim, error=error, now=shop.clock())
    shop.committed()
    _clear_leftovers(shop, claim)


def release(shop: Workshop, claim: Claim) -> None:
    """As if the attempt had not been: this process is asked to stop."""
    log.info("job %s goes back to the queue", claim.job_id)
    with transaction(shop.engine) as session:
        jobs.release(session, claim)


def persist(shop: Workshop, ending: Ending) -> None:
    """Writes it, again and again while the database is away: the child's hours must not be lost.

    When this process is asked to stop meanwhile, the lease runs out and the next worker finds what was sealed.
    """
    while True:
        try:
            return ending()
        except Unavailable as error:
            log.warning("what became of a job cannot be written yet: %s", error)
            if shop.stopping.wait(1.0):
                return None


def _clear_leftovers(shop: Workshop, claim: Claim) -> None:
    """Checkpoints and half-written drafts of a job that has ended: nobody goes on from them. The log stays."""
    out = shop.output_of(claim)
    for folder in (out.with_name(f"{out.name}.work"), *out.parent.glob(f".{out.name}.*.partial")):
        shutil.rmtree(folder, ignore_errors=True)


def _made(shop: Workshop, claim: Claim, manifest: dict[str, Any]) -> tuple[dict[str, Any], Event]:
    """What the job leaves: its result, and the event that tells of it."""
    order, uri = claim.order, uri_of(shop.output_of(claim))
    if isinstance(order, TrainOrder):
        sha256 = str(manifest["adapter_sha256"])
        version = version_name(order.workload, sha256)
        trained = CandidateTrained(
            job_id=claim.job_id,
            workload=order.workload,
            version=version,
            run_uri=uri,
            adapter_sha256=sha256,
            base=order.base,
            preset=order.preset,
            snapshot_id=order.snapshot_id,
            snapshot_uri=order.snapshot_uri,
        )
        return {"version": version, "run_uri": uri, "adapter_sha256": sha256}, trained
    names = list(version_names(order))
    evaluated = VersionsEvaluated(job_id=claim.job_id, workload=order.workload, evaluation_uri=uri, versions=names)
    return {"evaluation_uri": uri, "versions": names}, evaluated
