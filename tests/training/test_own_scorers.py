"""Scorers of other packages: real ones on sys.path, with the metadata an installation writes."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import BadConfig, Unusable
from shared.workloads import read_deployment
from training.suites import choose
from training.suites.score import Attempt

GOOD = """
from training.suites.score import Score

def make(options):
    most = options.get("most", 5)
    if not isinstance(most, int):
        raise ValueError(f"most is {most!r}, should be a whole number")
    return lambda attempt: Score(1.0, True) if len(attempt.answer) <= most else Score(0.0, False)

make.graded = True
"""
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Writes what pip would: a package of one module and its dist-info."""
    made: list[str] = []

    def write(source: str, name: str = "brief", package: str = "acme_scorers", target: str = "tone:make") -> Path:
        place = tmp_path / package
        (place / package).mkdir(parents=True)
        (place / package / "__init__.py").write_text("")
        (place / package / "tone.py").write_text(source)
        info = place / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[ratchet.scorers]\n{name} = {package}.{target}\n")
        monkeypatch.syspath_prepend(str(place))
        importlib.invalidate_caches()
        made.append(package)
        return place / package / "tone.py"

    yield write
    for module in [name for name in sys.modules if name.partition(".")[0] in made]:
        del sys.modules[module]


def refusal(tmp_path: Path, scorer: str, options: str = "{}") -> str:
    file = tmp_path / "ratchet.toml"
    file.write_text(
        f'[models.tiny]\npath = "builtin:tiny"\n[workloads.w]\nbase = "tiny"\nscorer = "{scorer}"\n'
        f"scorer_options = {options}\n"
    )
    with pytest.raises(BadConfig) as caught:
        read_deployment(file)
    with pytest.raises(Unusable) as also:
        choose(scorer, {"most": "x"} if options != "{}" else {}, None)
    assert scorer in str(also.value)
    return str(caught.value)


def test_an_installed_scorer_scores_with_its_options(install: Install) -> None:
    install(GOOD)
    chosen = choose("brief", {"most": 3}, None)
    assert [chosen.score(Attempt("", text)).exact for text in ("abc", "abcd")] == [True, False]
    assert chosen.graded


def test_its_source_and_its_options_are_part_of_the_fingerprint(install: Install) -> None:
    file = install(GOOD)
    first = choose("brief", {"most": 3}, None).fingerprint
    assert choose("brief", {"most": 3}, None).fingerprint == first
    assert choose("brief", {"most": 4}, None).fingerprint != first
    (file.parent / "words.py").write_text("WORDS = []\n")
    assert choose("brief", {"most": 3}, None).fingerprint != first


def test_options_that_its_author_refuses_are_refused_at_start(install: Install, tmp_path: Path) -> None:
    install(GOOD)
    message = refusal(tmp_path, "brief", '{most = "x"}')
    assert "'brief' refuses its options: most is 'x', should be a whole number" in message


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("import no_such_module_anywhere", "tone:make", "cannot be imported: ModuleNotFoundError"),
        ("raise SystemExit(3)", "tone:make", "cannot be imported: SystemExit: 3"),
        (GOOD, "tone:missing", "cannot be imported: AttributeError"),
        ("make = 5", "tone:make", "it is a int, which cannot be called"),
        ("def make(): ...", "tone:make", "cannot be called with one argument"),
        ("def make(options): return lambda: None", "tone:make", "should return a function score(attempt)"),
        ("def make(options): return 1 / 0", "tone:make", "ZeroDivisionError"),
    ],
)
def test_a_bad_one_is_refused_at_start_with_its_name_and_why(
    install: Install, tmp_path: Path, source: str, target: str, said: str
) -> None:
    install(source, target=target)
    message = refusal(tmp_path, "brief")
    assert "'brief'" in message
    assert said in message


def test_the_name_of_a_built_in_scorer_is_taken(install: Install, tmp_path: Path) -> None:
    install(GOOD, name="exact")
    assert "'exact' (acme_scorers.tone:make of acme_scorers 1.2) has the name of a built-in one" in refusal(
        tmp_path, "exact"
    )


def test_two_packages_may_not_share_a_name(install: Install, tmp_path: Path) -> None:
    install(GOOD)
    install(GOOD, package="other_scorers")
    assert "share a name; remove one package" in refusal(tmp_path, "brief")


def test_what_is_no_score_is_an_error_of_the_item(install: Install) -> None:
    install("def make(options): return lambda attempt: 0.5")
    with pytest.raises(TypeError, match="the scorer brief returned a float"):
        choose("brief", {}, None).score(Attempt("", ""))
