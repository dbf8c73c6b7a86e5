"""The promotion report: what it says, what it must never say, and that captured text stays text."""

import copy
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.promotion import plots
from services.promotion.report import place, render_report
from services.promotion.word_diff import hidden_split, word_diff

EXPECTED = '{"queue": "network", "priority": 1}'
SAID = '{"queue": "billing", "priority": "high"}'

REPORT: dict[str, Any] = {
    "workload": "support-triage",
    "version": "support-triage@3f2a9c01d4e5b6a7",
    "champion": "support-triage@base-77aa12cd",
    "verdict": "PROMOTE",
    "reasons": [
        "better on the holdout: 12.0% -> 93.0% over 60 prompt groups, gain +81.0 points (95 % interval +70.2 to +90.1)"
        ", p = 3.6e-15 by mid-p McNemar; asked for: at least +3.0 points and p < 0.01",
        "general ability went from 98.0% to 97.3% of 600 items, the margin is 3 points",
    ],
    "decided_at": "2026-11-20T16:40:12.120000Z",
    "policy": {
        "alpha": 0.01,
        "floor": 0.03,
        "min_groups": 60,
        "general_margin": 0.03,
        "holdout_share": 0.2,
        "alpha_budget": 0.05,
        "holdout_growth": 0.25,
        "slice_margin": 0.08,
        "slice_min_groups": 100,
        "must_pass": ["safety"],
        "length_change": 0.3,
    },
    "ledger": {
        "holdout_version": 2,
        "spent_before": 0.01,
        "spent": 0.01,
        "budget": 0.05,
        "decisions": 2,
        "groups_needed": 15,
    },
    "holdout": {
        "snapshot_id": "holdout-9a1b2c3d4e5f",
        "items": 64,
        "groups": 60,
        "champion": {"exact": 0.12, "fields": 0.51, "schema_valid": 0.7, "interval": [0.06, 0.22]},
        "candidate": {"exact": 0.93, "fields": 0.985, "schema_valid": 1.0, "interval": [0.84, 0.97]},
        "per_field": [
            {"name": "queue", "champion": 0.6, "candidate": 1.0},
            {"name": "priority", "champion": 0.3, "candidate": 0.97},
            {"name": "product", "champion": 0.8, "candidate": 0.98},
            {"name": "customer", "champion": 0.66, "candidate": 1.0},
            {"name": "action", "champion": 0.2, "candidate": 0.95},
        ],
        "paired": {"both": 6, "only_champion": 1, "only_candidate": 50, "neither": 3},
        "gain": 0.81,
        "gain_interval": [0.702, 0.901],
        "interval_method": "Tango's score interval",
        "test": "mid-p McNemar",
        "p_value": 3.6e-15,
    },
    "guards": [
        {
            "name": "general ability",
            "champion": 0.98,
            "candidate": 0.973,
            "margin": 0.03,
            "difference": -0.007,
            "bound": -0.0192,
            "passed": True,
            "why": "general ability went from 98.0% to 97.3% of 600 items, the margin is 3 points; with 95% confidence "
            "the change is better than -1.9 points",
        },
        {
            "name": "holdout unseen in training",
            "champion": None,
            "candidate": 0.0,
            "margin": None,
            "difference": None,
            "bound": None,
            "passed": True,
            "why": "nothing of the holdout stood in the training snapshot",
        },
    ],
    "general": {
        "items": 600,
        "champion": 0.98,
        "candidate": 0.973,
        "champion_interval": [0.966, 0.988],
        "candidate_interval": [0.957, 0.983],
    },
    "training": {
        "preset": "default",
        "examples": 204,
        "replay": 204,
        "steps": 390,
        "seconds": 41.3,
        "final_loss": 0.0213,
        "losses": [[step, 2.6 * math.exp(-step / 60) + 0.02] for step in range(1, 391, 3)],
        "dev_losses": [[step, 2.4 * math.exp(-step / 70) + 0.05] for step in range(30, 391, 60)],
        "seed": 0,
    },
    "examples_better": [
        {
            "item": f"item-{n}",
            "prompt": f"Ticket {n}: the router in Bremen is down since 7, forty people cannot work. Call before noon!",
            "expected": EXPECTED,
            "champion_answer": SAID,
            "candidate_answer": EXPECTED,
        }
        for n in range(3)
    ],
    "examples_worse": [
        {
            "item": "item-9",
            "prompt": "Please cancel my order 4417.",
            "expected": EXPECTED,
            "champion_answer": EXPECTED,
            "candidate_answer": SAID,
        }
    ],
    "lineage": {
        "run_uri": "file:///srv/ratchet/data/artifacts/runs/job-18f",
        "snapshot_id": "9f8e7d6c",
        "snapshot_uri": "file:///srv/ratchet/data/artifacts/snapshots/9f8e7d6c",
        "examples": 204,
        "base": "builtin:tiny",
        "adapter_sha256": "3f2a9c01d4e5b6a7" * 4,
    },
    "harness_sha256": "77aa" * 16,
}

FINDINGS: dict[str, Any] = {
    "contamination": {
        "searched": 204,
        "versions": ["support-triage@3f2a9c01d4e5b6a7", "support-triage@00aa12cd"],
        "unsearched": ["support-triage@5511eedd"],
        "groups": ["group-3"],
        "examples": [],
        "overlaps": [
            {
                "kind": "13-gram",
                "item": "item-7",
                "example": "example-41",
                "similarity": 0.71,
                "shared": "the router in bremen is down since 7 forty people cannot work call before noon",
            }
        ],
    },
    "broke": {
        "items": ["item-9", "item-12", "item-40"],
        "groups": 3,
        "right_before": 44,
        "slices": [
            {"slice": "refunds", "right_before": 12, "broken": 3, "items": ["item-9", "item-12"], "q_value": 0.02}
        ],
        "words": [{"words": "cancel my", "broken": 3, "held": 1, "odds": 203.0, "p_value": 0.0003, "q_value": 0.041}],
        "tested": 512,
        "prompts": True,
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(REPORT), **changes}


class Page(HTMLParser):
    """Every tag with its attributes, and the text outside of style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in_style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.text += data


def test_verdict_and_reasons_come_before_every_figure() -> None:
    text = Page(render_report(REPORT)).text
    assert text.index("Passes the gate") < text.index("better on the holdout") < text.index("Is it better?")


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("PROMOTE", "may serve"), ("REJECT", "stays"), ("INCONCLUSIVE", "figures cannot carry")],
)
def test_each_verdict_is_told_in_words(verdict: str, words: str) -> None:
    assert words in Page(render_report(changed(verdict=verdict))).text


def test_the_figures_are_those_of_the_data() -> None:
    text = re.sub(r"\s+", " ", Page(render_report(REPORT)).text)
    for words in (
        "12.0 %",
        "93.0 %",
        "+81.0 points",
        "▲ 50",
        "▼ 1",
        "change −0.7 points",
        "20 November 2026, 16:40 UTC",
        "margin 3.0 points",
        "204",
        "41.3 s",
        "< 0.0001",
    ):
        assert words in text, words


def test_the_ledger_the_intervals_method_and_every_key_of_the_policy_stand_on_the_page() -> None:
    text = re.sub(r"\s+", " ", Page(render_report(REPORT)).text)
    for words in (
        "95 % interval +70.2 points to +90.1 points (Tango's score interval)",
        "2 decisions on version 2 of the holdout have spent 0.02 of its alpha budget of 0.05; this one, 0.01.",
        "15 new prompt groups bring the next budget.",
        *REPORT["policy"],
        "safety",
    ):
        assert words in text, words
    one = changed(ledger={**REPORT["ledger"], "spent_before": 0.0, "spent": 0.0, "decisions": 1, "groups_needed": 1})
    text = re.sub(r"\s+", " ", Page(render_report(one)).text)
    assert "1 decision on version 2 of the holdout has spent 0 of" in text
    assert "this one, nothing. 1 new prompt group brings the next budget." in text


def test_what_broke_and_what_leaked_stand_on_the_page_and_hostile_or_missing_parts_do_no_harm() -> None:
    text = re.sub(r"\s+", "", Page(render_report(changed(**FINDINGS))).text)
    for words in (
        "3 items in 3 of the 44 groups that were right before",
        "refunds 12 3 (25.0 %) 0.02",
        "cancel my 3 1 × 203 0.0003 0.041",
        "item-12",
        "204 training examples of 2 versions",
        "item-7 example-41 13-gram 71.0 %",
        "Not searched, as the snapshot cannot be read any more: support-triage@5511eedd",
    ):
        assert words.replace(" ", "") in text, words
    nothing = changed(broke={**FINDINGS["broke"], "items": [], "slices": [], "words": []})
    assert "Nothing that was right is wrong now" in Page(render_report(nothing)).text
    attacked = Page(render_report(hostile(copy.deepcopy(FINDINGS)) | changed()))
    assert not {"script", "img"} & {tag for tag, _ in attacked.tags}
    render_report(without_figures(copy.deepcopy(FINDINGS)) | changed())


def test_the_page_needs_no_network_and_no_script() -> None:
    page = Page(render_report(REPORT))
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "xlink:href", "onload", "onclick"} & attributes.keys(), tag
        assert attributes.get("href", "data:,") == "data:,"
    assert not re.search(r"url\((?!#)|@import", render_report(REPORT))


def without_figures(value: Any) -> Any:
    """The same data with every number of the measurement unknown."""
    if isinstance(value, dict):
        return {key: without_figures(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [] if value and not isinstance(value[0], dict) else [without_figures(inner) for inner in value]
    return None if isinstance(value, int | float) and not isinstance(value, bool) else value


def test_missing_figures_are_said_and_never_drawn_as_nought() -> None:
    bare = without_figures(copy.deepcopy(REPORT)) | {"reasons": ["the evaluation broke off"]}
    html = render_report(bare)
    shown = Page(html)
    assert "no figure" in shown.text
    assert not re.search(r"(?<![\d.])0(\.0)? (%|points)", shown.text)
    assert not any(tag == "rect" and a.get("class") in ("champion", "candidate") for tag, a in shown.tags)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_number_is_no_figure(broken: float) -> None:
    report = copy.deepcopy(REPORT)
    report["holdout"]["gain"] = report["holdout"]["candidate"]["exact"] = broken
    report["training"]["losses"][3][1] = broken
    html = render_report(report)
    assert "no figure" in html
    assert not re.search(r"\bnan\b|\binf\b", html.lower())


@pytest.mark.parametrize(
    "part",
    ["holdout", "general", "training", "guards", "examples_better", "examples_worse", "harness_sha256", "lineage"],
)
def test_a_report_without_a_part_is_still_a_report(part: str) -> None:
    assert "Passes the gate" in render_report(changed(**{part: None}))
    assert "Passes the gate" in render_report({key: value for key, value in REPORT.items() if key != part})


def test_a_report_read_back_from_json_gives_the_same_page() -> None:
    assert render_report(json.loads(json.dumps(REPORT))) == render_report(REPORT)


PAYLOAD = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg onload=alert(1)>{{7*7}}{% raw %}</style>"


def hostile(value: Any, key: str = "") -> Any:
    """The same shape with the payload for every text."""
    if isinstance(value, dict):
        return {name: hostile(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [hostile(inner, key) for inner in value]
    return PAYLOAD if isinstance(value, str) and key not in ("verdict", "unit", "worse_is") else value


def test_markup_in_any_text_stays_text() -> None:
    honest, attacked = Page(render_report(REPORT)), Page(render_report(hostile(copy.deepcopy(REPORT))))
    allowed = {tag for tag, _ in honest.tags} | {"del", "ins"}
    assert {tag for tag, _ in attacked.tags} <= allowed
    assert not any(name.startswith("on") for _, attributes in attacked.tags for name in attributes)
    assert PAYLOAD in attacked.text
    assert "49" not in attacked.text.split("What changed")[1].split("How it was")[0]


def test_an_unknown_verdict_is_shown_as_it_is_and_escaped() -> None:
    assert "&lt;b&gt;MAYBE" in render_report(changed(verdict="<b>MAYBE"))


def test_hidden_characters_and_half_characters_are_shown() -> None:
    change = REPORT["examples_worse"][0] | {"candidate_answer": "pay \u202e001\ud800"}
    html = render_report(changed(examples_worse=[change]))
    html.encode("utf-8")
    assert "U+202E" in html
    assert "U+D800" in html
    assert "\u202e" not in html


def test_machine_paths_are_shown_from_the_data_folder() -> None:
    html = render_report(REPORT)
    assert "artifacts/runs/job-18f" in html
    assert "/srv/" not in html


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("file:///a/b/artifacts/runs/x%20y", "artifacts/runs/x y"),
        ("/home/someone/models/llama", "…/llama"),
        ("builtin:tiny", "builtin:tiny"),
        ("org/name", "org/name"),
    ],
)
def test_a_place_is_shortened(uri: str, shown: str) -> None:
    assert place(uri) == shown


def test_long_texts_and_long_lists_are_cut_and_say_so() -> None:
    long = [REPORT["examples_better"][0] | {"item": f"n{n}", "champion_answer": "word " * 5_000} for n in range(40)]
    html = render_report(changed(examples_better=long))
    assert html.count("<details") == 13
    assert "characters more" in html
    assert "At most 12 of each kind are shown" in html
    assert len(html) < 600_000


def test_the_commands_to_do_it_again_are_safe_to_paste() -> None:
    lineage = REPORT["lineage"] | {"base": "x; rm -rf ~"}
    assert "--base &#39;x; rm -rf ~&#39;" in render_report(changed(lineage=lineage))


def test_the_commands_to_do_it_again_name_the_base_as_the_training_was_given_it() -> None:
    training = REPORT["training"] | {"base": "builtin:tiny"}
    html = render_report(changed(training=training, lineage=REPORT["lineage"] | {"base": "tiny"}))
    assert html.count("--base builtin:tiny") == 2


def test_the_commands_to_do_it_again_score_as_the_gate_did() -> None:
    holdout = REPORT["holdout"] | {"scorer": "json_fields", "schema_checked": True}
    html = render_report(changed(holdout=holdout))
    assert ":json_fields" in html
    assert "--schema SCHEMA.json" in html


@given(st.text(), st.text())
def test_a_diff_joins_to_both_texts_again(before: str, after: str) -> None:
    parts = word_diff(before, after)
    assert "".join(text for kind, text in parts if kind != "added") == before
    assert "".join(text for kind, text in parts if kind != "removed") == after


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\u202e\u200b\x00\ud800"))))
def test_splitting_off_hidden_characters_loses_none(text: str) -> None:
    parts = list(hidden_split(text))
    assert "".join(chr(int(part[2:], 16)) if hidden else part for hidden, part in parts) == text


numbers = st.one_of(st.none(), st.floats(), st.integers(-3, 3), st.text(max_size=3))


@given(numbers, numbers, numbers, numbers)
def test_no_figures_break_a_drawing(a: Any, b: Any, c: Any, d: Any) -> None:
    drawn = [
        plots.share_bar(a, [b, c], "candidate", "x"),
        plots.gain_plot(a, [b, c], d, "x"),
        plots.guard_plot(a, b, c, "x", higher_is_worse=True),
        plots.guard_plot(a, b, c, "x"),
        plots.loss_curve([[a, b], [c, d]], [[d, a]], "x"),
    ]
    assert not re.search(r"nan|inf", "".join(drawn))


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_better_share_has_a_longer_bar(one: float, other: float) -> None:
    def width(share: float) -> float:
        return float(
            re.findall(r'class="candidate".*?width="([\d.]+)%', plots.share_bar(share, None, "candidate", ""))[0]
        )

    assert (width(one) - width(other)) * (one - other) >= 0


@pytest.mark.parametrize("gain", [-1.0, -0.3, 0.0, 0.01, 0.03, 0.1, 0.45, 1.0])
def test_the_words_at_no_gain_and_at_the_floor_stand_in_the_order_of_their_lines(gain: float) -> None:
    drawn = plots.gain_plot(gain, [gain, gain], 0.03, "gain")
    words = {
        text: (anchor, float(x))
        for x, anchor, text in re.findall(
            r'<text class="tick" x="([\d.]+)%" y="\d+" text-anchor="(\w+)">([^<]+)<', drawn
        )
    }
    lines = dict(re.findall(r'<line class="(zero|limit)" x1="([\d.]+)%"', drawn))
    (zero_anchor, zero), (floor_anchor, floor) = words["no gain"], words["floor +3 points"]
    assert (zero, floor) == (float(lines["zero"]), float(lines["limit"]))
    assert zero < floor
    assert zero_anchor == floor_anchor or floor - zero >= 40
