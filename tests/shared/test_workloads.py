"""`ratchet.toml`: every mistake is named with its key, the value found and what would be right."""

from pathlib import Path

import pytest

from shared.errors import BadConfig
from shared.workloads import Deployment, read_deployment

GOOD = """
[models.tiny]
path = "builtin:tiny"

[workloads.support-triage]
base = "tiny"
"""


def read(tmp_path: Path, text: str) -> Deployment:
    (tmp_path / "ratchet.toml").write_text(text, "utf-8")
    return read_deployment(tmp_path / "ratchet.toml")


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(BadConfig) as caught:
        read(tmp_path, text)
    return str(caught.value)


def test_the_smallest_file_gets_the_documented_defaults(tmp_path: Path) -> None:
    deployment = read(tmp_path, GOOD)
    workload = deployment.workloads["support-triage"]
    assert (workload.gate.min_groups, workload.gate.holdout_share, workload.gate.alpha) == (200, 0.2, 0.01)
    assert workload.scorer == "exact"
    assert deployment.model_of("support-triage").path == "builtin:tiny"


def test_files_are_found_beside_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "object", "required": ["queue"]}')
    (tmp_path / "general.jsonl").write_text("")
    (tmp_path / "base").mkdir()
    text = GOOD.replace('"builtin:tiny"', '"base"\ngeneral_suite = "general.jsonl"')
    deployment = read(tmp_path, text + 'scorer = "json_fields"\nanswer_schema = "schema.json"\n')
    assert deployment.models["tiny"].path == str(tmp_path / "base")
    assert deployment.models["tiny"].general_suite == str(tmp_path / "general.jsonl")
    assert deployment.workloads["support-triage"].answer_schema == {"type": "object", "required": ["queue"]}


def test_a_hub_s_name_stays_as_it_is(tmp_path: Path) -> None:
    deployment = read(tmp_path, GOOD.replace("builtin:tiny", "Qwen/Qwen2.5-0.5B-Instruct"))
    assert deployment.models["tiny"].path == "Qwen/Qwen2.5-0.5B-Instruct"


W = "workloads.support-triage"


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("preset = 5", [f"{W}.preset is 5", "valid string"]),
        ('scorer = "bleu"', [f"{W}.scorer is 'bleu'", "'exact' or 'json_fields'"]),
        ('scorer = "json_fields"', ["needs an answer_schema", 'scorer = "exact"']),
        ('colour = "red"', [f"{W}.colour is not a known key", "spelling"]),
        ('answer_schema = "none.json"', [f"{W}.answer_schema is 'none.json'", "cannot be read as JSON"]),
        ('answer_schema = {type = "objekt"}', [f"{W}.answer_schema", "should be a JSON Schema", "objekt"]),
        ("answer_schema = 3", [f"{W}.answer_schema is 3", "valid dictionary"]),
        ("gate = {alpha = 0}", [f"{W}.gate.alpha is 0", "greater than 0"]),
        ('gate = {alpha = "small"}', [f"{W}.gate.alpha is 'small'", "valid number"]),
        ("gate = {alpha = nan}", [f"{W}.gate.alpha is nan", "finite number"]),
        ("trigger = {cooldown_minutes = inf}", [f"{W}.trigger.cooldown_minutes is inf", "finite number"]),
        ("gate = {floor = 3}", [f"{W}.gate.floor is 3", "less than or equal to 1"]),
        ("gate = {min_groups = 5}", [f"{W}.gate.min_groups is 5", "greater than or equal to 20"]),
        ("gate = {min_groups = 20.5}", [f"{W}.gate.min_groups is 20.5", "valid integer"]),
        ("gate = {holdout_share = 1}", [f"{W}.gate.holdout_share is 1", "less than 1"]),
        ("gate = 7", [f"{W}.gate is 7", "valid dictionary"]),
        ("trigger = {min_new_examples = 0}", [f"{W}.trigger.min_new_examples is 0", "greater than or equal to 1"]),
        ("trigger = {cooldown_minutes = -1}", [f"{W}.trigger.cooldown_minutes is -1", "greater than or equal to 0"]),
        ('trigger = {cron = "at two"}', [f"{W}.trigger.cron is 'at two'", '"0 2 * * *"']),
        ('trigger = {cron = "0 99 * * *"}', [f"{W}.trigger.cron is '0 99 * * *'", "five cron fields"]),
        ("selection = {daily_budget = 0}", [f"{W}.selection.daily_budget is 0", "greater than or equal to 1"]),
        ("selection = {audit_share = 1.5}", [f"{W}.selection.audit_share is 1.5", "less than or equal to 1"]),
        ("grouping = {similarity = 0}", [f"{W}.grouping.similarity is 0", "greater than 0"]),
        ('grouping = {key = "colour"}', [f"{W}.grouping.key is 'colour'", "'prompt' or 'metadata.group'"]),
    ],
)
def test_a_mistake_in_a_workload_names_key_value_and_what_would_be_right(
    tmp_path: Path, mistake: str, said: list[str]
) -> None:
    message = refusal(tmp_path, GOOD + mistake + "\n")
    for part in [str(tmp_path / "ratchet.toml") if "none.json" not in mistake else "none.json", *said]:
        assert part in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["models is missing", "workloads is missing"]),
        ("[models]\n[workloads]\n", ["no workload is declared", "[workloads.support-triage]"]),
        (GOOD.replace('base = "tiny"', ""), [f"{W}.base is missing"]),
        (GOOD.replace('base = "tiny"', 'base = "small"'), [f"{W}.base is 'small'", "known: tiny"]),
        (GOOD.replace("support-triage", '"Support Triage"'), ["Support Triage", "pattern"]),
        (GOOD.replace('path = "builtin:tiny"', ""), ["models.tiny.path is missing"]),
        (GOOD.replace('path = "builtin:tiny"', "path = 1"), ["models.tiny.path is 1", "valid string"]),
        (GOOD + "[models.tiny.x]\n", ["models.tiny.x is not a known key"]),
        (GOOD.replace("[models.tiny]", "[models]\ntiny = 1\n[other]"), ["models.tiny is 1"]),
        ("models = 3\nworkloads = 4\n", ["models is 3", "workloads is 4"]),
        ("[models.tiny\n", ["cannot be read as TOML", "line 1"]),
    ],
)
def test_a_mistake_in_the_file_names_key_value_and_what_would_be_right(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    message = refusal(tmp_path, text)
    for part in said:
        assert part in message


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD + "gate = {alpha = 9, floor = 9}\nselection = {daily_budget = 0}\n")
    assert "3 mistake(s)" in message


@pytest.mark.parametrize("key", ["general_suite", "replay"])
def test_a_suite_that_is_not_there_is_told(tmp_path: Path, key: str) -> None:
    message = refusal(tmp_path, GOOD.replace('"builtin:tiny"', f'"builtin:tiny"\n{key} = "gone.jsonl"'))
    assert f"models.tiny.{key} is 'gone.jsonl'" in message
    assert "does not exist" in message


def test_a_file_that_is_not_there_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="ratchet init"):
        read_deployment(tmp_path / "none.toml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ratchet.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadConfig, match="cannot be read as TOML"):
        read_deployment(tmp_path / "ratchet.toml")
