import re
import subprocess
import sys
from pathlib import Path

from services.cli.__main__ import app
from tests.readme_tables import README, TABLES, with_tables

ROOT = README.parent


def test_the_tables_are_those_of_the_code() -> None:
    text = README.read_text("utf-8")
    assert with_tables(text) == text, "run `python -m tests.readme_tables`"


def test_every_metric_and_setting_is_explained() -> None:
    for name in ("topics", "metrics", "settings"):
        for row in TABLES[name]().splitlines()[2:]:
            assert all(cell.strip() for cell in row.strip("|").split(" | ")), f"{name}: {row}"


def test_the_tree_names_what_is_there() -> None:
    tree = re.search(r"```text\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert tree is not None
    named = {line.split()[0] for line in tree[1].splitlines() if line.strip() and not line.startswith("ratchet")}
    for path in named:
        assert (ROOT / path).exists(), path
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = {p.split("/")[0] + "/" for p in tracked if "/" in p and not p.startswith(".")}
    assert folders <= named, folders - named


def test_every_file_the_readme_points_to_exists() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README.read_text("utf-8")):
        assert (ROOT / target).exists(), target


def test_every_ratchet_command_the_readme_shows_exists() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups}
    shown = set(re.findall(r"`ratchet ([a-z-]+)", README.read_text("utf-8")))
    assert shown
    assert shown <= known


def test_no_document_holds_a_path_of_one_machine() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        if name.endswith((".md", ".toml", ".json", ".py", ".txt", ".html", ".sh")) and (ROOT / name).is_file():
            text = (ROOT / name).read_text("utf-8", "replace")
            assert not re.search(r"(?<![\w.])/(?:root|work|home/(?!someone)\w+)/", text), name


def test_the_services_start_without_loading_torch() -> None:
    for service in ("gateway", "annotation", "scheduler", "promotion", "cli"):
        code = f"import sys, services.{service}.__main__; sys.exit('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{service}: {done.stderr}"


def test_constraints_name_no_index() -> None:
    assert "://" not in Path(ROOT / "constraints.txt").read_text("utf-8")
