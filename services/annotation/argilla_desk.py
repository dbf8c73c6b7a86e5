"""Argilla as the desk: one dataset a workload, in a workspace that annotators have access to.

Pushes by the sample's id, so pushing again adds nothing. Pulls by looking: every answered record is read again, and
whoever reads compares (opinions.py). Argilla's search index can lose what its database has (a 500 does not mean "not
saved"), so now and then, and after every failure, the database itself is read and the index mended.
Fails: Unavailable while Argilla, its database or its search is away; Refused records are given back by id.
Two processes that set up at once end with one dataset: who comes second finds it there.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import argilla
import httpx
from argilla._exceptions import (
    ArgillaCredentialsError,
    ArgillaError,
    ConflictError,
    ForbiddenError,
    UnauthorizedError,
)

from services.annotation import webhooks
from services.annotation.curation import REASON_LABELS
from services.annotation.desk import Item, Verdict
from services.annotation.desk_answers import oldest_first, verdicts_in
from services.annotation.desk_form import METADATA, QUESTIONS, VERDICTS, Form, form_of, review_form_of, version_of
from services.annotation.desk_records import Record, record_of
from services.annotation.desk_transfer import Dataset, push, sweep
from services.annotation.desk_wire import GoneFromDesk, Wire
from shared.errors import BadConfig, Unavailable
from shared.workloads import Workload

log = logging.getLogger(__name__)
logging.getLogger("argilla.sdk").setLevel(logging.WARNING)  # it tells of each call
TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with access. password: only when the account was just made; it is kept nowhere."""

    name: str
    reviewer: bool
    password: str | None


class ArgillaDesk:
    def __init__(
        self,
        url: str,
        api_key: str,
        workspace: str,
        workloads: Mapping[str, Workload],
        *,
        sweep_seconds: float,
        webhook_url: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """webhook_url: where Argilla should tell of changes; None: it is never told to."""
        self._webhook_url = webhook_url
        self._url, self._api_key, self._workspace, self._workloads = url, api_key, workspace, workloads
        self._sweep_seconds, self._monotonic = sweep_seconds, monotonic
        self._swept_at: float | None = None  # None: what the index may have lost was not looked for yet
        self._client: argilla.Argilla | None = None
        self._datasets: list[Dataset] = []
        self._names: dict[str, str] = {}

    # --- setting up ---

    def setup(self, annotators: Sequence[str] = (), reviewers: Sequence[str] = ()) -> list[Account]:
        """Makes what is missing: workspaces, datasets, accounts. Twice: changes nothing."""
        with self._away_in_words():
            client = self._open()
            self._ensure_workspace(client, self._workspace)
            if reviewers:
                self._ensure_workspace(client, self._review_workspace)
            for name, workload in self._workloads.items():
                self._ensure(client, form_of(name, workload))
                if workload.desk.answers_per_item > 1:  # with one answer nobody can disagree
                    self._ensure(client, review_form_of(name, workload))
            accounts = [self._account(client, name, reviewer=False) for name in dict.fromkeys(annotators)]
            accounts += [self._account(client, name, reviewer=True) for name in dict.fromkeys(reviewers)]
            self._datasets = self._look(client)
        if self._webhook_url is not None:
            self.subscribe(self._webhook_url)
        return accounts

    def subscribe(self, url: str) -> str:
        """The secret of the webhook to this address, which is made if there is none."""
        with self._away_in_words():
            return webhooks.subscribe(self._wire(), url)

    def unsubscribe(self, url: str) -> None:
        with self._away_in_words():
            webhooks.unsubscribe(self._wire(), url)

    # --- the desk ---

    def push(self, items: Sequence[Item]) -> dict[str, str]:
        refused: dict[str, str] = {}
        for workload in dict.fromkeys(item.workload for item in items):
            dataset = self._current(workload, for_review=False)
            records = [record_of(item, dataset.question_ids) for item in items if item.workload == workload]
            refused |= self._push(dataset, records)
        return refused

    def push_for_review(self, items: Sequence[tuple[Item, str]]) -> dict[str, str]:
        """Items with what the annotators said of them."""
        refused: dict[str, str] = {}
        for item, opinions in items:
            dataset = self._current(item.workload, for_review=True)
            refused |= self._push(dataset, [record_of(item, dataset.question_ids, opinions)])
        return refused

    def pull(self) -> list[Verdict]:
        """Every verdict that stands at the desk, oldest change first."""
        sweeping = self._swept_at is None or self._monotonic() - self._swept_at >= self._sweep_seconds
        with self._away_in_words():
            if sweeping or not self._datasets:
                self.setup()
            self._name_users(sweeping)
            verdicts: list[Verdict] = []
            for dataset in self._datasets:
                records = sweep(self._wire(), dataset) if sweeping else self._wire().answered(dataset.dataset_id)
                verdicts += verdicts_in(records, self._names, final=dataset.for_review)
        if sweeping:
            self._swept_at = self._monotonic()
        return oldest_first(verdicts)

    def sweep_next(self) -> None:
        """The next pull reads the server's database instead of its index."""
        self._swept_at = None

    def status(self) -> list[dict[str, Any]]:
        """Each dataset with how many records wait and are done."""
        with self._away_in_words():
            found = []
            for dataset in self._look(self._open()):
                progress = self._wire().call("GET", f"/api/v1/datasets/{dataset.dataset_id}/progress")
                found.append(
                    {
                        "dataset": dataset.name,
                        "workload": dataset.workload,
                        "for_review": dataset.for_review,
                        "state": "current" if dataset.is_current else "draining" if progress["pending"] else "drained",
                        "waiting": progress["pending"],
                        "done": progress["completed"],
                    }
                )
        return found

    # --- inside ---

    @property
    def _review_workspace(self) -> str:
        return f"{self._workspace}-review"

    def _open(self) -> argilla.Argilla:
        if self._client is None:
            self._client = argilla.Argilla(self._url, self._api_key, timeout=TIMEOUT_SECONDS, retries=0)
        return self._client

    def _wire(self) -> Wire:
        with self._away_in_words():
            return Wire(self._open().http_client)

    @contextmanager
    def _away_in_words(self) -> Iterator[None]:
        """After any failure the next pull sweeps: what was refused may have been kept."""
        try:
            yield
        except (Unavailable, GoneFromDesk) as error:
            self._swept_at, self._datasets = None, []
            raise Unavailable(str(error)) from error
        except (ArgillaCredentialsError, UnauthorizedError, ForbiddenError) as error:
            self._swept_at, self._client, self._datasets = None, None, []
            raise BadConfig(
                f"Argilla at {self._url} refuses: {error}; RATCHET_DESK_API_KEY has to be the key of an owner"
            ) from error
        except ArgillaError as error:
            self._swept_at, self._datasets = None, []
            raise Unavailable(f"Argilla at {self._url}: {type(error).__name__}: {error}") from error
        except httpx.HTTPError as error:
            self._swept_at, self._client, self._datasets = None, None, []
            raise Unavailable(f"Argilla at {self._url} cannot be reached: {type(error).__name__}: {error}") from error

    def _current(self, workload: str, *, for_review: bool) -> Dataset:
        for attempt in range(3):
            for dataset in self._datasets:
                if dataset.is_current and (dataset.workload, dataset.for_review) == (workload, for_review):
                    return dataset
            if attempt == 0:
                self.setup()
            elif for_review:  # a dispute of a time when more answers were asked
                with self._away_in_words():
                    self._ensure(self._open(), review_form_of(workload, self._workloads[workload]))
                    self._datasets = self._look(self._open())
        raise Unavailable(f"the desk of {workload} is not set up; `ratchet desk setup` says why")

    def _push(self, dataset: Dataset, records: list[Record]) -> dict[str, str]:
        with self._away_in_words():
            return push(self._wire(), dataset.dataset_id, records)

    def _name_users(self, sweeping: bool) -> None:
        if sweeping or not self._names:
            self._names = {str(user.id): str(user.username) for user in self._open().users.list()}

    def _look(self, client: argilla.Argilla) -> list[Dataset]:
        """All versions of all declared workloads."""
        digests = {(name, False): form_of(name, w).digest for name, w in self._workloads.items()}
        digests |= {(name, True): review_form_of(name, w).digest for name, w in self._workloads.items()}
        found = []
        for name in (self._workspace, self._review_workspace):
            workspace = _workspace(client, name)
            if workspace is None:
                continue
            for dataset in _datasets_in(client, workspace):
                version = version_of(dataset["name"])
                if version is None or dataset["status"] != "ready":
                    continue
                key = (version.workload, version.for_review)
                if key in digests:
                    questions = _question_ids(client, dataset["id"])
                    is_current = digests[key] == version.digest
                    found.append(Dataset(dataset["id"], dataset["name"], *key, version.number, is_current, questions))
        return found

    def _ensure_workspace(self, client: argilla.Argilla, name: str) -> Any:
        found = _workspace(client, name)
        if found is None:
            with suppress(ConflictError):  # somebody else was quicker
                argilla.Workspace(name=name, client=client).create()
            found = _workspace(client, name)
        return found

    def _ensure(self, client: argilla.Argilla, form: Form) -> None:
        workspace = self._ensure_workspace(client, self._review_workspace if form.for_review else self._workspace)
        numbers = [0]
        for dataset in _datasets_in(client, workspace):
            version = version_of(dataset["name"])
            if version is None or (version.workload, version.for_review) != (form.workload, form.for_review):
                continue
            if dataset["status"] != "ready":  # its making was cut short; nothing can be in it
                Wire(client.http_client).call("DELETE", f"/api/v1/datasets/{dataset['id']}")
                continue
            numbers.append(version.number)
            if version.digest == form.digest:
                if dataset["guidelines"] != form.guidelines:
                    body = {"guidelines": form.guidelines}
                    Wire(client.http_client).call("PATCH", f"/api/v1/datasets/{dataset['id']}", json=body)
                return
        _make(client, workspace, form, max(numbers) + 1)

    def _account(self, client: argilla.Argilla, name: str, *, reviewer: bool) -> Account:
        user = next((known for known in client.users if known.username == name), None)
        password = None
        if user is None:
            password = secrets.token_urlsafe(12)
            user = argilla.User(username=name, first_name=name, password=password, role="annotator", client=client)
            user.create()
        workspace = _workspace(client, self._review_workspace if reviewer else self._workspace)
        if name not in {member.username for member in workspace.users}:
            user.add_to_workspace(workspace)
        return Account(name, reviewer, password)


def _workspace(client: argilla.Argilla, name: str) -> Any:
    return next((found for found in client.workspaces if found.name == name), None)


def _datasets_in(client: argilla.Argilla, workspace: Any) -> list[dict[str, Any]]:
    items = Wire(client.http_client).call("GET", "/api/v1/me/datasets")["items"]
    return [item for item in items if item["workspace_id"] == str(workspace.id)]


def _question_ids(client: argilla.Argilla, dataset_id: str) -> dict[str, str]:
    items = Wire(client.http_client).call("GET", f"/api/v1/datasets/{dataset_id}/questions")["items"]
    return {item["name"]: item["id"] for item in items}


def _make(client: argilla.Argilla, workspace: Any, form: Form, number: int) -> None:
    fields = [argilla.ChatField("conversation", form.fields["conversation"], use_markdown=True, _client=client)]
    texts = [(name, title) for name, title in form.fields.items() if name != "conversation"]
    fields += [argilla.TextField(name, title, use_markdown=True, client=client) for name, title in texts]
    reasons = {reason.value: label for reason, label in REASON_LABELS.items()}
    settings = argilla.Settings(
        guidelines=form.guidelines,
        fields=fields,
        questions=[
            argilla.LabelQuestion("verdict", VERDICTS, QUESTIONS["verdict"], required=True, client=client),
            argilla.TextQuestion("ideal", QUESTIONS["ideal"], required=False, client=client),
            argilla.MultiLabelQuestion("reasons", reasons, title=QUESTIONS["reasons"], required=False, client=client),
            argilla.TextQuestion("comment", QUESTIONS["comment"], required=False, client=client),
        ],
        metadata=[
            argilla.FloatMetadataProperty(name, title=title, client=client)
            if name == "confidence"
            else argilla.TermsMetadataProperty(name, title=title, client=client)
            for name, title in METADATA.items()
        ],
        distribution=argilla.TaskDistribution(min_submitted=form.answers_per_item),
    )
    dataset = argilla.Dataset(form.name(number), workspace=workspace, settings=settings, client=client)
    try:
        dataset.create()
    except ConflictError:
        log.info("%s is being made by somebody else", form.name(number))
