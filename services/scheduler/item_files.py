"""The files of items that models name in ratchet.toml, read once at start: trainings and evaluations need them whole.

Fails: BadConfig with every file that cannot be used: key, file, line and what would be right. Files that come along
(`builtin:`) are not read.
"""

from collections.abc import Iterator
from pathlib import Path

from shared.errors import BadConfig, Unusable
from shared.installed import BUILTIN
from shared.workloads import Deployment
from training.examples import read_items

LINE = '{"id": "1", "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'


def check_item_files(deployment: Deployment) -> None:
    mistakes = list(_mistakes(deployment))
    if mistakes:
        raise BadConfig("\n".join([*mistakes, f"A line of such a file is {LINE}"]))


def _mistakes(deployment: Deployment) -> Iterator[str]:
    for name, model in deployment.models.items():
        for key, file in (("general_suite", model.general_suite), ("replay", model.replay)):
            if file is None or file.startswith(BUILTIN):
                continue
            try:
                found = read_items(Path(file))
            except Unusable as error:
                yield f"models.{name}.{key}: {error}"
            else:
                if not found:
                    yield f"models.{name}.{key}: {file} has no item; give some, or leave the key out"
