"""`ratchet`: everything a person does with the loop from a terminal.

Exit status: 0 done; 1 something is down or failed; 2 wrong configuration, arguments or id. Errors are sentences on
standard error.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.padding import Padding

from services.cli.desk import desk
from services.cli.drift import drift
from services.cli.gate import GateCommand, gate
from services.cli.pages import console, for_people, headline, table_of
from services.cli.plain import cell
from services.cli.stack import stack
from shared.errors import BadConfig, RatchetError, Unusable
from shared.plain import as_json as json_text
from shared.plain import shown
from shared.references import choice
from shared.settings import SharedSettings

app = typer.Typer(
    name="ratchet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=(
        "A continuous-learning feedback loop for language models: applications ask, experts correct, a training makes "
        "a candidate, and it serves only after it has beaten the model that serves now.\n\n"
        "Start: `ratchet init`, then `ratchet up`, then `ratchet status`. "
        "To see the whole loop turn once: `ratchet demo`."
    ),
    epilog="Settings come from RATCHET_... environment variables; the README lists them all.",
)
app.add_typer(stack, name="stack")
app.add_typer(desk, name="desk")
app.command(cls=GateCommand)(gate)
app.command(cls=GateCommand)(drift)
out = console()

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The file that declares models and workloads \\[env: RATCHET_CONFIG]")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of everything the embedded parts keep \\[env: RATCHET_DATA_DIR]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a page for people")]
WhoOption = Annotated[str, typer.Option("--who", help="Your name, for the audit log", envvar="USER")]
WorkloadOption = Annotated[str | None, typer.Option("--workload", "-w", help="Only this workload")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there")] = False,
) -> None:
    """Write a commented ratchet.toml to start from."""
    from services.cli.starter import write_starter

    for path in write_starter(folder, force=force):
        out.print(f"wrote {path}")
    out.print("Next: look through ratchet.toml, then `ratchet up`.")


@app.command()
def up(config: ConfigOption = None, data: DataOption = None) -> None:
    """Start all services and keep them running until Ctrl-C or SIGTERM."""
    from services.cli.up import run_everything

    raise typer.Exit(run_everything(_settings(config, data)))


@app.command()
def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Only say where the tables stand; status 1 unless all are as needed")
    ] = False,
    sql: Annotated[
        bool, typer.Option("--sql", help="Only print what would be run, for the database's own client")
    ] = False,
    down: Annotated[
        str | None,
        typer.Option("--down", metavar="OWNER=REVISION", help="Take revisions back to this one, or to `base`"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --down: do not ask, what is dropped is gone")] = False,
    data: DataOption = None,
) -> None:
    """Bring the database's tables to what this program needs; harmless when they are.

    `ratchet up` does it by itself. It is one transaction: when it is interrupted, nothing has changed. Stop the
    services first, and make a backup before --down.
    """
    from services.cli import migrate as migration

    url = _settings(None, data).database
    if sum((check, sql, down is not None)) > 1:
        raise BadConfig("--check, --sql and --down are three different things; give one of them")
    if sql:
        return print(migration.script(url), end="")
    if check:
        lines, current = migration.look(url)
    elif down is not None:
        if not yes and not typer.confirm(f"Take back {down}? What its tables and columns hold is lost"):
            raise typer.Exit(1)
        lines, current = migration.downgrade(url, down), True
    else:
        lines, current = migration.upgrade(url), True
    for line in lines:
        out.print(line, highlight=False, markup=False)
    if not current:
        raise typer.Exit(1)
    return None


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running and say how to call it")] = False,
    data: Annotated[Path, typer.Option("--data", help="A new or empty folder for everything the demo keeps")] = Path(
        "data/demo"
    ),
    seed: Annotated[int, typer.Option("--seed", help="Seed of the tickets and the trainings")] = 0,
    real: Annotated[
        bool,
        typer.Option(
            "--real", help="Through Kafka, PostgreSQL, Argilla, vLLM, Prometheus and Alertmanager, started here"
        ),
    ] = False,
) -> None:
    """Turn the whole loop once, on embedded defaults or real servers, with a simulated expert; show every figure."""
    if real:
        from services.cli.demo.real import run_real_demo

        raise typer.Exit(run_real_demo(data, seed=seed, keep=keep))
    from services.cli.demo.embedded import run_demo

    raise typer.Exit(run_demo(data, seed=seed, keep=keep))


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Show the loop's state: services, champions, samples, examples, running jobs.

    Status 0: everything is up; 1: a service is down; 2: a setting or ratchet.toml is wrong.
    """
    from services.cli.status import gather, show

    settings = _settings()
    if settings.config.exists():  # where the loop runs elsewhere there need be none
        settings.deployment()
    state = gather(settings)
    if as_json:
        _print_json(state)
    else:
        show(state, out)
    if any(service["state"] == "down" for service in state["services"].values()):
        raise typer.Exit(1)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check this deployment from its settings: what is wrong, and what to do about it.

    Status 0: nothing is wrong; 1: something does not work; 2: a setting or ratchet.toml is wrong.
    """
    from services.cli.doctor.checks import examine
    from services.cli.doctor.findings import status_of
    from services.cli.doctor.page import as_object, show

    findings = examine()
    if as_json:
        _print_json(as_object(findings))
    else:
        show(findings, out)
    raise typer.Exit(status_of(findings))


@app.command()
def train(
    workload: Annotated[str, typer.Argument(help="Name of the workload")],
    preset: Annotated[str | None, typer.Option(help="default, careful, careless; else the workload's own")] = None,
    why: Annotated[str, typer.Option(help="A sentence for the record")] = "by hand",
    who: WhoOption = "somebody",
) -> None:
    """Start a training now, whatever the triggers say."""
    body = {"kind": "train", "workload": workload, "preset": preset, "why": why, "who": who}
    job = _caller("scheduler").post("/v1/jobs", {k: v for k, v in body.items() if v is not None})
    out.print(f"job {job['job_id']} is {job['state']}; follow it with `ratchet jobs`")


@app.command()
def jobs(workload: WorkloadOption = None, as_json: JsonOption = False) -> None:
    """List trainings and evaluations, newest first."""
    from services.cli.status import progress_of

    found = _listed("scheduler", "/v1/jobs", "jobs", workload)
    if as_json:
        return _print_json(found)
    table = table_of("job", "what", "state", "why", "progress or error")
    for job in found:
        cells = (f"{job['kind']} {job['workload']}", job["state"], job["why"], job["error"] or progress_of(job))
        table.add_row(*[cell(c) for c in (job["job_id"], *cells)])
    out.print(table if found else "no job yet; `ratchet train WORKLOAD` starts one")
    return None


@app.command()
def models(workload: WorkloadOption = None, as_json: JsonOption = False) -> None:
    """List every version with its stage and verdict, newest first."""
    found = _listed("promotion", "/v1/models", "models", workload)
    if as_json:
        return _print_json(found)
    for model in found:
        out.print(headline(model))
        for reason in model.get("reasons") or []:
            out.print(Padding(cell(f"- {reason}"), (0, 0, 0, 4), expand=False))
    if not found:
        out.print("no version yet")
    return None


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="The version that should serve, e.g. support-triage@3f2a9c01d4e5b6a7")],
    why: Annotated[str, typer.Option(help="A sentence for the audit log")] = "",
    override: Annotated[bool, typer.Option(help="Although it did not pass the gate; needs --why")] = False,
    who: WhoOption = "somebody",
) -> None:
    """Let a version serve by hand."""
    body = {"who": who, "why": why, "override": override}
    model = _caller("promotion").post(f"/v1/models/{version}/promote", body)
    out.print(f"{model['version']} is {model['stage']}")


@app.command()
def rollback(
    workload: Annotated[str, typer.Argument(help="Name of the workload")],
    to: Annotated[str | None, typer.Option(help="A version that served before; else the last one")] = None,
    why: Annotated[str, typer.Option(help="A sentence for the audit log")] = "by hand",
    who: WhoOption = "somebody",
) -> None:
    """Go back to the champion before, at once."""
    promotion = _caller("promotion")
    # Named, so that a repeated command does not go back one step further.
    leaving = promotion.get("/v1/status")["workloads"].get(workload, {}).get("champion")
    body = {"who": who, "why": why, "to": to, "leaving": leaving}
    model = promotion.post(f"/v1/workloads/{workload}/rollback", body)
    out.print(f"{model['version']} is {model['stage']}")


@app.command()
def lineage(
    some_id: Annotated[str, typer.Argument(metavar="ID", help="Of an answer, a version, an example or a correction")],
    examples: Annotated[int, typer.Option(help="How many of a snapshot's examples to follow")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Walk from an answer to the corrections that made its model."""
    from services.cli.lineage import Lineage, drawn

    step = Lineage(_settings(), examples).of(some_id)
    if as_json:
        _print_json(step.as_dict())
    else:
        out.print(drawn(step))


@app.command()
def knowledge(workload: WorkloadOption = None, as_json: JsonOption = False) -> None:
    """List what the model did not know: the retrieval backlog. Never trained on."""
    gaps = _listed("annotation", "/v1/knowledge", "gaps", workload)
    if as_json:
        return _print_json(gaps)
    table = table_of("found", "workload", "prompt", "what the expert would have said", "by")
    for gap in gaps:
        cells = (gap["found_at"], gap["workload"], gap["prompt"], gap["ideal"], gap["annotator"])
        table.add_row(*[cell(c) for c in cells])
    out.print(table if gaps else "no knowledge gap was found")
    return None


@app.command("dead-letters")
def dead_letters(
    as_json: JsonOption = False,
    most: Annotated[int, typer.Option(help="How many to show, newest first")] = 20,
) -> None:
    """Show what could not be used, and why."""
    from services.cli.dead_letters import read_dead_letters

    letters = read_dead_letters(_settings().bus)[-most:][::-1]
    if as_json:
        return _print_json(letters)
    table = table_of("consumer", "where", "reason", "what it was")
    for letter in letters:
        where = f"{letter['topic']}[{letter['partition']}]@{letter['offset']}"
        cells = (letter["consumer"], where, letter["reason"], letter["value"][:200])
        table.add_row(*[cell(c) for c in cells])
    out.print(table if letters else "no dead letters")
    return None


def main() -> None:
    with _errors_in_words():
        app()


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        yield
    except RatchetError as error:
        print(f"ratchet: {shown(for_people(error))}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, Unusable) else 1) from None


def _settings(config: Path | None = None, data: Path | None = None) -> SharedSettings:
    """The settings; options win over the environment, and the services that are started see them too."""
    import os

    if config is not None:
        os.environ["RATCHET_CONFIG"] = str(config)
    if data is not None:
        os.environ["RATCHET_DATA_DIR"] = str(data)
    return SharedSettings.load()


def _caller(service: str) -> Any:
    from shared.calls import Caller

    return Caller(_settings().url_of(service))


def _listed(service: str, path: str, key: str, workload: str | None) -> list[dict[str, Any]]:
    """What a service lists; an empty list of a workload it has never heard of is Unusable. One that was is listed."""
    caller = _caller(service)
    found: list[dict[str, Any]] = caller.get(path, workload=workload)[key]
    if workload is not None and not found:
        known = caller.get("/v1/status")["workloads"]
        if workload not in known:
            raise Unusable(f"there is no workload {workload!r}; {choice(workload, known)}")
    return found


def _print_json(value: Any) -> None:
    print(json_text(value))


if __name__ == "__main__":
    main()
