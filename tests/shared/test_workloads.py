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
        ("preset = 5", [f"{W}.preset is 5: should be a text in quotes"]),
        ('scorer = "bleu"', [f"{W}.scorer is 'bleu'", "exact, json_fields"]),
        ('scorer = "stile"', [f"{W}.scorer is 'stile'", "did you mean 'style'?"]),
        ('scorer = "style"', [f"{W}.scorer_options", "at least one rule is needed", "max_words"]),
        ('scorer = "refusal"', [f"{W}.scorer_options.phrases is missing"]),
        ("scorer_options = {measure = 1}", [f"{W}.scorer_options.measure is not an option of the scorer exact"]),
        (
            'scorer = "text"\nscorer_options = {measure = "bleu", right_from = 2}',
            [f"{W}.scorer_options.measure is 'bleu': should be one of chrf", f"{W}.scorer_options.right_from is 2"],
        ),
        (
            'scorer = "style"\nscorer_options = {must_contain = [{regex = "(a"}]}',
            [f"{W}.scorer_options.must_contain", "regular expression", "missing )"],
        ),
        (
            'scorer = "json_fields"\nscorer_options = {tolerance = {due = {weeks = 1}}}',
            [f"{W}.scorer_options.tolerance is", "{days = 1}", "due has {'weeks': 1}"],
        ),
        (
            'answer_schema = {properties = {due = {}}}\nscorer = "json_fields"\n'
            "scorer_options = {tolerance = {deu = {days = 1}}}",
            [f"{W}.scorer_options.tolerance.deu is no field of answer_schema", "did you mean 'due'?"],
        ),
        ("consistency = {answers = 1}", [f"{W}.consistency.answers is 1", "one answer agrees with itself"]),
        ("consistency = {temperature = 0}", [f"{W}.consistency.temperature is 0", "greater than 0"]),
        ('scorer = "json_fields"', ["needs an answer_schema", 'scorer = "exact"']),
        ('answer_schema = {type = "array"}\nscorer = "json_fields"', ['accepts the type "array"', '"type": "object"']),
        ('answer_schema = {required = ["a"]}\nscorer = "json_fields"', ["accepts an array", '"type": "object"']),
        (
            'colour = "red"',
            [f"{W}.colour is not a known key", "'red'", "known: answer_schema, base, consistency, desk"],
        ),
        ('skorer = "exact"', [f"{W}.skorer is not a known key", "did you mean 'scorer'?"]),
        ("gate = {flor = 1}", [f"{W}.gate.flor is not a known key", "set to 1", "did you mean 'floor'?"]),
        ('preset = "defualt"', [f"{W}.preset is 'defualt'", "careful, careless, default", "did you mean 'default'?"]),
        ('answer_schema = {"$ref" = "#/$defs/a"}', [f"{W}.answer_schema", "'#/$defs/a' leads to nothing in it"]),
        (
            'answer_schema = {"$ref" = "https://x.example/s"}',
            ["'https://x.example/s' leads to nothing", "never fetched"],
        ),
        ('answer_schema = {"$ref" = "#"}', ["'#' only leads back to itself"]),
        ('answer_schema = {properties = {a = {"$ref" = "#/x/y"}}, x = {y = {"$ref" = "no.json"}}}', ["'no.json'"]),
        ('answer_schema = "none.json"', [f"{W}.answer_schema is 'none.json'", "cannot be read as JSON"]),
        ('answer_schema = {type = "objekt"}', [f"{W}.answer_schema", "should be a JSON Schema", "objekt"]),
        ("answer_schema = 3", [f"{W}.answer_schema is 3: should be a file, such as", "or a table"]),
        ("gate = {alpha = 0}", [f"{W}.gate.alpha is 0", "greater than 0"]),
        ('gate = {alpha = "small"}', [f"{W}.gate.alpha is 'small': should be a number, without quotes"]),
        ("gate = {alpha = true}", [f"{W}.gate.alpha is True: should be a number, without quotes"]),
        ('gate = {min_groups = "200"}', [f"{W}.gate.min_groups is '200': should be a whole number, without quotes"]),
        ("gate = {min_groups = 1e3}", [f"{W}.gate.min_groups is 1000.0: should be a whole number, such as 1000"]),
        ("gate = {min_groups = true}", [f"{W}.gate.min_groups is True: should be a whole number"]),
        ('gate = {must_pass = "safety"}', [f"{W}.gate.must_pass is 'safety': should be a list, such as"]),
        ("gate = {must_pass = [1]}", [f"{W}.gate.must_pass.0 is 1: should be a text in quotes"]),
        ("grouping = {ignore_digits = 1}", [f"{W}.grouping.ignore_digits is 1: should be true or false"]),
        ('trigger = {min_new_examples = "5"}', [f"{W}.trigger.min_new_examples is '5': should be a whole number"]),
        ("trigger = {cron = 5}", [f"{W}.trigger.cron is 5: should be a text in quotes"]),
        (
            'system_prompt = "ab\\u0000c"',
            [
                f"{W}.system_prompt is 'ab\\x00c': contains a NUL character at character 3",
                "cannot be stored; remove it",
            ],
        ),
        ("gate = {alpha = nan}", [f"{W}.gate.alpha is nan", "finite number"]),
        ("trigger = {cooldown_minutes = inf}", [f"{W}.trigger.cooldown_minutes is inf", "finite number"]),
        (
            "gate = {alpha = 0.02, alpha_budget = 0.01}",
            [f"{W}.gate.alpha_budget is 0.01", "at least alpha (0.02), or no decision is ever paid for"],
        ),
        ("gate = {alpha_budget = 2}", [f"{W}.gate.alpha_budget is 2", "less than or equal to 1"]),
        ("gate = {holdout_growth = 0}", [f"{W}.gate.holdout_growth is 0", "greater than 0"]),
        ("gate = {floor = 3}", [f"{W}.gate.floor is 3", "less than or equal to 1"]),
        ("gate = {min_groups = 5}", [f"{W}.gate.min_groups is 5", "greater than or equal to 20"]),
        ("gate = {min_groups = 20.5}", [f"{W}.gate.min_groups is 20.5: should be a whole number"]),
        ("gate = {holdout_share = 1}", [f"{W}.gate.holdout_share is 1", "less than 1"]),
        ("gate = 7", [f"{W}.gate is 7: should be a table"]),
        ("trigger = {min_new_examples = 0}", [f"{W}.trigger.min_new_examples is 0", "greater than or equal to 1"]),
        ("trigger = {cooldown_minutes = -1}", [f"{W}.trigger.cooldown_minutes is -1", "greater than or equal to 0"]),
        ('trigger = {cron = "at two"}', [f"{W}.trigger.cron is 'at two'", '"0 2 * * *"']),
        ('trigger = {cron = "0 99 * * *"}', [f"{W}.trigger.cron is '0 99 * * *'", "five cron fields"]),
        ('trigger = {cron = "0 0 30 2 *"}', [f"{W}.trigger.cron is '0 0 30 2 *'", "never comes", '"0 2 * * *"']),
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
        (GOOD.replace("support-triage", '"Support Triage"'), ["Support Triage", "made of a-z, 0-9 and -"]),
        (GOOD.replace('path = "builtin:tiny"', ""), ["models.tiny.path is missing"]),
        (GOOD.replace('path = "builtin:tiny"', "path = 1"), ["models.tiny.path is 1: should be a text in quotes"]),
        (GOOD + "[models.tiny.x]\n", ["models.tiny.x is not a known key"]),
        (GOOD + "[model.tiny]\n", ["model is not a known key", "did you mean 'models'?"]),
        (GOOD.replace("builtin:tiny", "builtin:nope"), ["models.tiny.path is 'builtin:nope'", "known: builtin:tiny"]),
        (GOOD.replace("builtin:tiny", "./nowhere/model"), ["models.tiny.path is './nowhere/model'", "does not exist"]),
        (GOOD.replace("builtin:tiny", "~nobody-here/model"), ["models.tiny.path is '~nobody-here/model'"]),
        (GOOD.replace("builtin:tiny", "models/of/mine"), ["models.tiny.path is 'models/of/mine'", '"org/model"']),
        (GOOD.replace("builtin:tiny", "./ratchet.toml"), ["is no folder"]),
        (GOOD.replace("builtin:tiny", ""), ["models.tiny.path is ''", '"org/model"']),
        (GOOD.replace("[models.tiny]", "[models]\ntiny = 1\n[other]"), ["models.tiny is 1: should be a table"]),
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


def test_what_is_not_there_is_told_with_all_other_mistakes(tmp_path: Path) -> None:
    models = '"builtin:tiny"\ngeneral_suite = "gone.jsonl"\nreplay = "builtin:tiny/gone.jsonl"'
    more = '[workloads.two]\nbase = "tinny"\npreset = "best"\nanswer_schema = "gone.json"\nscorer = "json_fields"\n'
    message = refusal(tmp_path, GOOD.replace('"builtin:tiny"', models) + "gate = {alpha = 9}\ncolour = 1\n" + more)
    lines = message.splitlines()
    assert "7 mistake(s)" in lines[0]
    parts = (
        "models.tiny.general_suite is 'gone.jsonl'",
        "models.tiny.replay is 'builtin:tiny/gone.jsonl'",
        f"{W}.gate.alpha is 9",
        f"{W}.colour is not a known key",
        "workloads.two.base is 'tinny'",
        "workloads.two.preset is 'best'",
        "workloads.two.answer_schema is 'gone.json'",
    )
    for part in parts:
        assert sum(part in line for line in lines) == 1, part


def test_what_comes_along_is_known_by_name(tmp_path: Path) -> None:
    files = 'general_suite = "builtin:tiny/general_suite.jsonl"\nreplay = "builtin:tiny/general_replay.jsonl"'
    deployment = read(tmp_path, GOOD.replace('"builtin:tiny"', f'"builtin:tiny"\n{files}') + 'preset = "careful"\n')
    assert deployment.models["tiny"].replay == "builtin:tiny/general_replay.jsonl"


def test_a_price_that_is_none_is_refused_with_the_keys_there_are(tmp_path: Path) -> None:
    text = GOOD.replace('"builtin:tiny"', '"builtin:tiny"\nprice = {device_hour = -1, per_hour = 2}')
    message = refusal(tmp_path, text)
    assert "models.tiny.price.device_hour is -1" in message
    assert "models.tiny.price.per_hour is not a known key" in message
    assert "prompt_million_tokens" in message


def test_a_schema_may_refer_to_its_own_parts(tmp_path: Path) -> None:
    properties = '{sub = {"$ref" = "#"}, x = {"$ref" = "#/$defs/x"}}'
    tree = f'{{properties = {properties}, "$defs" = {{x = {{enum = [{{"$ref" = "#/not-a-reference"}}]}}}}}}'
    schema = read(tmp_path, GOOD + f"answer_schema = {tree}\n").workloads["support-triage"].answer_schema
    assert schema is not None


def test_a_day_that_comes_only_in_leap_years_is_a_day(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD + 'trigger = {cron = "0 0 29 2 *"}\n').workloads["support-triage"].trigger.cron


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


def test_a_whole_number_is_a_number_and_an_array_a_list(tmp_path: Path) -> None:
    text = GOOD + 'gate = {floor = 0, must_pass = ["safety"]}\ntrigger = {cooldown_minutes = 5}\n'
    workload = read(tmp_path, text).workloads["support-triage"]
    assert (workload.gate.floor, workload.gate.must_pass, workload.trigger.cooldown_minutes) == (0, ("safety",), 5)


def test_no_mistake_is_told_in_the_words_of_a_programming_language(tmp_path: Path) -> None:
    text = "models = {tiny = {path = 1, price = 2}}\n[workloads.t]\nbase = 1\ngate = 5\ndesk = {gold = []}\n"
    for word in ("Input", "String", "instance", "dictionary", "tuple", "pattern", "Value error"):
        assert word not in refusal(tmp_path, text)
