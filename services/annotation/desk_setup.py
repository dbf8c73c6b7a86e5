"""`python -m services.annotation.desk_setup`: makes at Argilla what is missing, and says what it made.

Behind `ratchet desk setup`. Twice: changes nothing. A new account's password is printed once and kept nowhere.
"""

import argparse
import sys

from services.annotation.far_desk import far_desk, webhook_url
from services.annotation.settings import DeskSettings
from shared.errors import RatchetError, Unusable
from shared.settings import SharedSettings
from shared.web import configure_logging, run_service


def main() -> None:
    options = _options()
    shared, settings = SharedSettings.load(), DeskSettings.load()
    configure_logging("WARNING")
    here = shared.url_of("annotation")
    desk = far_desk(settings, shared.deployment().workloads, here)
    accounts = desk.setup(options.annotator, options.reviewer)
    if not settings.webhook:
        desk.unsubscribe(webhook_url(here))
    for row in desk.status():
        print(f"{row['dataset']}: {row['state']}, {row['waiting']} waiting, {row['done']} done")
    for account in accounts:
        kind = "reviewer" if account.reviewer else "annotator"
        said = f"password {account.password} (shown once)" if account.password else "had an account already"
        print(f"{kind} {account.name}: {said}")
    print(f"Experts open {settings.address}")


def in_words() -> None:
    try:
        main()
    except RatchetError as error:
        print(f"ratchet: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, Unusable) else 1) from None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ratchet desk setup")
    parser.add_argument("--annotator", action="append", default=[])
    parser.add_argument("--reviewer", action="append", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    run_service(in_words)
