"""What the demo on real servers decides without them."""

import os
from pathlib import Path
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from infra.native.prometheus import RULES
from services.annotation.inert_text import inert
from services.cli.demo.argilla_expert import as_read
from services.cli.demo.expert import words
from services.cli.demo.real import hurried
from services.cli.demo.stage import see_only
from shared.settings import SharedSettings
from training.tiny.house import ticket


def test_the_demos_drift_rule_is_the_real_one_with_shorter_windows(tmp_path: Path) -> None:
    hurried(RULES, tmp_path / "rules")
    assert {f.name for f in (tmp_path / "rules").iterdir()} == {f.name for f in RULES.glob("*.yml")}
    real, quick = (folder.joinpath("drift.yml").read_text() for folder in (RULES, tmp_path / "rules"))
    assert len(real.splitlines()) == len(quick.splitlines())
    assert not [slow for slow in ("[1h]", "[7d]", "offset 1h", "for: 10m") if slow in quick]
    for name in ("loop.yml", "serving.yml"):
        assert (tmp_path / "rules" / name).read_bytes() == (RULES / name).read_bytes()


@given(st.integers(0, 10_000))
def test_the_expert_reads_at_argilla_what_the_application_asked(seed: int) -> None:
    asked = ticket(seed).text
    assert words(as_read(inert(asked, 10_000))) == words(asked)


def test_a_demo_never_talks_to_the_services_of_the_callers_environment() -> None:
    callers = {"RATCHET_SCHEDULER_URL": "http://scheduler.production:8083", "RATCHET_SCHEDULER_PORT": "8083"}
    with patch.dict(os.environ, callers):
        see_only({"RATCHET_SCHEDULER_PORT": "4711", "PATH": "/nowhere"})
        assert SharedSettings.load().url_of("scheduler") == "http://127.0.0.1:4711"
        assert os.environ["PATH"] != "/nowhere"
