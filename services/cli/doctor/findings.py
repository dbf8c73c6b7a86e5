"""What a check finds: a state, a sentence, and what to do about it."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from shared.errors import BadConfig, RatchetError


class State(StrEnum):
    OK = "ok"
    LOOK = "look"  # it works; somebody should know
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: State
    says: str
    do: str = ""
    configuration: bool = False  # wrong because of what somebody wrote, not of what is away


def ok(check: str, says: str) -> Finding:
    return Finding(check, State.OK, says)


def look(check: str, says: str, do: str) -> Finding:
    return Finding(check, State.LOOK, says, do)


def wrong(check: str, says: str, do: str) -> Finding:
    return Finding(check, State.WRONG, says, do)


def misconfigured(check: str, says: str, do: str) -> Finding:
    return Finding(check, State.WRONG, says, do, configuration=True)


def skipped(check: str, says: str, do: str = "") -> Finding:
    return Finding(check, State.SKIPPED, says, do)


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    run: Callable[[], Iterable[Finding]]

    def findings(self) -> list[Finding]:
        """What it found until it failed, and how it failed: the other checks are not kept from looking."""
        found: list[Finding] = []
        try:
            found.extend(self.run())
        except BadConfig as error:
            found.append(misconfigured(self.name, str(error), "mend what it names"))
        except RatchetError as error:
            found.append(wrong(self.name, str(error), "see what it names"))
        except Exception as error:
            found.append(wrong(self.name, f"this check failed itself: {error!r}", "please report it as a bug"))
        return found


def status_of(findings: Iterable[Finding]) -> int:
    """0 nothing is wrong; 1 something does not work; 2 a setting or ratchet.toml is wrong."""
    wrongs = [f for f in findings if f.state is State.WRONG]
    return 2 if any(f.configuration for f in wrongs) else int(bool(wrongs))


_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|API_KEY|_AUTH", re.IGNORECASE)
_SHOWN_INSTEAD = "***"


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """Values that must not be printed: those with such a name, and the passwords of URLs. Longest first."""
    found = {value for name, value in environment.items() if _SECRET.search(name)}
    for value in environment.values():
        found |= set(re.findall(r"://[^\s/:@]*:([^\s@]+)@", value))
    return sorted((v for v in found if len(v) > 3), key=len, reverse=True)


def without_secrets(findings: Iterable[Finding], environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    secrets = secrets_in(environment)
    for finding in findings:
        says, do = finding.says, finding.do
        for secret in secrets:
            says, do = says.replace(secret, _SHOWN_INSTEAD), do.replace(secret, _SHOWN_INSTEAD)
        yield replace(finding, says=says, do=do)
