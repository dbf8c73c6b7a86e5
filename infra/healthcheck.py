"""`python -m infra.healthcheck URL`: status 0 when the URL answers 200, else 1 with what it said. For containers.

Only Python's own library: it runs every few seconds in images that have no curl.
"""

import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 4.0
MOST_BYTES = 2000


def objection_of(url: str) -> str:
    """Empty when it answers 200."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not know this container
    try:
        with direct.open(url, timeout=TIMEOUT_SECONDS) as answer:
            return "" if answer.status == 200 else f"{url} answered {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{url} answered {error.code}: {error.read(MOST_BYTES).decode('utf-8', 'replace')}"
    except (OSError, ValueError) as error:
        return f"{url}: {error}"


if __name__ == "__main__":
    if said := objection_of(sys.argv[1]):
        print(said, file=sys.stderr)
    raise SystemExit(1 if said else 0)
