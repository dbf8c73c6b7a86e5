"""Windows against a reference, and the state of each signal after them. Pure.

A signal has moved in a window when chance is ruled out and the change is large enough to matter. Chance: p < 0.001
after Benjamini and Hochberg over the window's signals; for text, beyond 200 shuffles. Large enough: see `_number`,
`_rate`, `_category`, `_text`.
warn: moved in the last window; drift: in the two last that could be judged. Too few events is a state of its own:
never "ok", and it does not clear a warning.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from services.drift import statistics
from services.drift.signals import SIGNALS, Kind, Signal, Values
from services.drift.statistics import Rate
from services.drift.text_classifier import LEAST_AREA, separate

MIN_EVENTS = 500
LEVEL = 0.001
MEDIAN_SHIFT, PSI = 0.15, 0.1
JENSEN_SHANNON = 0.1
LEAST_POINTS, LEAST_RELATIVE = 0.02, 0.25
_ROUNDING = 1e-9


class State(StrEnum):
    OK = "ok"
    INSUFFICIENT_DATA = "insufficient_data"
    WARN = "warn"
    DRIFT = "drift"


_GRAVITY = [State.OK, State.INSUFFICIENT_DATA, State.WARN, State.DRIFT]


@dataclass(frozen=True, slots=True)
class Window:
    """What each signal said, in the order of the events; a signal that no event carried is missing."""

    values: Mapping[str, Sequence[float | bool | str]]

    @classmethod
    def of(cls, events: Sequence[Values]) -> "Window":
        values: dict[str, list[float | bool | str]] = {}
        for event in events:
            for name, value in event.items():
                values.setdefault(name, []).append(value)
        return cls(values)


@dataclass(frozen=True, slots=True)
class Finding:
    """One signal in one window. moved None: too few events to tell."""

    signal: str
    before: int  # events of the reference, and
    now: int  # of the window
    moved: bool | None
    why: str
    p_value: float | None = None
    adjusted_p: float | None = None
    large: bool = False
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """A signal after all windows; `moved` holds each window's answer, oldest first."""

    signal: str
    state: State
    moved: tuple[bool | None, ...]
    last: Finding


def compare(reference: Window, window: Window, min_events: int = MIN_EVENTS) -> list[Finding]:
    """A finding for each signal that either side carries, in the order of SIGNALS."""
    found = [
        _compared(signal, reference, window, min_events)
        for signal in SIGNALS.values()
        if _carried(signal, reference, window)
    ]
    asked = [
        place
        for place, finding in enumerate(found)
        if finding.p_value is not None and SIGNALS[finding.signal].kind != Kind.TEXT
    ]
    adjusted = statistics.benjamini_hochberg([found[place].p_value or 0.0 for place in asked])
    for place, p_value in zip(asked, adjusted, strict=True):
        finding = found[place]
        found[place] = replace(finding, adjusted_p=p_value, moved=finding.large and p_value < LEVEL)
    return found


def standings(windows: Sequence[Sequence[Finding]]) -> list[Standing]:
    """windows: the findings of each, oldest first, at least one."""
    by_signal: dict[str, list[Finding]] = {}
    for findings in windows:
        for finding in findings:
            by_signal.setdefault(finding.signal, []).append(finding)
    found = []
    for name in (name for name in SIGNALS if name in by_signal):
        moved = tuple(finding.moved for finding in by_signal[name])
        found.append(Standing(name, state_after(moved), moved, by_signal[name][-1]))
    return found


def state_after(moved: Sequence[bool | None]) -> State:
    """Of one signal, by its windows, oldest first; those that could not be judged are passed over, but never ok."""
    judged = [answer for answer in moved if answer is not None]
    if judged[-2:] == [True, True]:
        return State.DRIFT
    if judged[-1:] == [True]:
        return State.WARN
    return State.OK if moved and moved[-1] is not None else State.INSUFFICIENT_DATA


def gravest(states: Sequence[State]) -> State:
    """Nothing looked at is no reassurance."""
    return max(states, key=_GRAVITY.index) if states else State.INSUFFICIENT_DATA


def _carried(signal: Signal, *windows: Window) -> bool:
    return any(window.values.get(signal.name) for window in windows)


def _compared(signal: Signal, reference: Window, window: Window, min_events: int) -> Finding:
    before, now = (side.values.get(signal.name, ()) for side in (reference, window))
    few = [f"{len(v)} in the {side}" for side, v in (("reference", before), ("window", now)) if len(v) < min_events]
    if few:
        return Finding(
            signal.name, len(before), len(now), None, f"too few events: {' and '.join(few)}; {min_events} are needed"
        )
    found = _JUDGES[signal.kind](before, now)
    return replace(found, signal=signal.name, before=len(before), now=len(now))


def _number(before: Sequence[float | bool | str], now: Sequence[float | bool | str]) -> Finding:
    """The median moved by 15 %, or the bias-corrected PSI is at least 0.1."""
    first, second = np.asarray(before, dtype=float), np.asarray(now, dtype=float)
    distance, p_value = statistics.ks_test(first, second)
    shift, psi = statistics.median_shift(first, second), statistics.corrected_psi(first, second)
    medians = {"median_before": float(np.median(first)), "median_now": float(np.median(second))}
    large = abs(shift) >= MEDIAN_SHIFT - _ROUNDING or psi >= PSI
    said = f"{shift:+.0%}" if math.isfinite(shift) else "from 0"
    moved = f"median {medians['median_before']:.4g} before, {medians['median_now']:.4g} now ({said})"
    why = f"{moved}; PSI {psi:.2f}, KS p {p_value:.2g}"
    figures = {**medians, "median_shift": shift, "psi": psi, "ks_distance": distance}
    return Finding("", 0, 0, False, why, p_value, large=large, figures=figures)


def _rate(before: Sequence[float | bool | str], now: Sequence[float | bool | str]) -> Finding:
    """The share moved by two points and by a quarter of itself."""
    first, second = (Rate(sum(map(bool, side)), len(side)) for side in (before, now))
    p_value, change = statistics.two_proportions(first, second), second.share - first.share
    large = abs(change) >= max(LEAST_POINTS, LEAST_RELATIVE * first.share) - _ROUNDING
    why = f"{first.share:.1%} before, {second.share:.1%} now ({change * 100:+.1f} points); p {p_value:.2g}"
    figures = {"share_before": first.share, "share_now": second.share, "change": change}
    return Finding("", 0, 0, False, why, p_value, large=large, figures=figures)


def _category(before: Sequence[float | bool | str], now: Sequence[float | bool | str]) -> Finding:
    """The Jensen-Shannon distance is at least 0.1."""
    first, second = Counter(map(str, before)), Counter(map(str, now))
    statistic, p_value = statistics.chi_square_test(first, second)
    distance = statistics.jensen_shannon(first, second)
    most = max(first | second, key=lambda name: abs(first[name] / len(before) - second[name] / len(now)))
    change = f"{most[:40]!r} from {first[most] / len(before):.1%} to {second[most] / len(now):.1%}"
    why = f"most changed: {change}; Jensen-Shannon distance {distance:.2f}, chi-square p {p_value:.2g}"
    figures = {"jensen_shannon": distance, "chi_square": statistic}
    return Finding("", 0, 0, False, why, p_value, large=distance >= JENSEN_SHANNON, figures=figures)


def _text(before: Sequence[float | bool | str], now: Sequence[float | bool | str]) -> Finding:
    """The area is at least 0.60. Its p-value cannot be smaller than the shuffles allow, so it is not adjusted."""
    found = separate([str(text) for text in before], [str(text) for text in now])
    why = f"a classifier tells now from before with an area of {found.area:.2f} (chance: 0.5; limit: {LEAST_AREA:.2f})"
    if found.beyond is not None:
        why += ", and it is " + ("beyond" if found.beyond else "not beyond") + " what shuffled texts give"
    large = found.area >= LEAST_AREA
    return Finding("", 0, 0, bool(found.beyond), why, found.p_value, large=large, figures={"area": found.area})


_JUDGES = {Kind.NUMBER: _number, Kind.RATE: _rate, Kind.CATEGORY: _category, Kind.TEXT: _text}
