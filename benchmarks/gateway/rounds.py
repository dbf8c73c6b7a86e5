"""The measuring itself: rounds in which each gateway is asked in turn while the others are stopped.

A round's order moves on by one, so what the machine does besides falls on all of them. For ours the clock of CPU time
stops only when everything is in Kafka, and the ids of all answers are looked for there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gateway.broker import Arrivals
from benchmarks.gateway.load import Load, Question, load
from benchmarks.gateway.peers import Running
from benchmarks.gateway.traffic import EVENTS

OWN, PACED = "ratchet", ("ratchet", "tensorzero", "nginx")  # the others are too slow for half of our rate
CONNECTIONS = 32
FEW_CONNECTIONS = {"litellm": 4}  # whose streams would not end within a round


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: int
    warm_up_seconds: int


@dataclass(slots=True)
class Figures:
    """A gateway's, one of each a round."""

    cpu_us: list[float] = field(default_factory=list)  # a request
    shipper_us: list[float] = field(default_factory=list)  # of them
    requests_per_second: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    paced_cpu_us: list[float] = field(default_factory=list)
    paced_p50_ms: list[float] = field(default_factory=list)
    paced_p99_ms: list[float] = field(default_factory=list)
    event_cpu_us: list[float] = field(default_factory=list)
    events_per_second: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


class Rounds:
    def __init__(self, gateways: Sequence[Running], arrivals: Arrivals, folder: Path, core: int) -> None:
        """core: of everything but the gateways."""
        self._gateways, self._arrivals, self._core = gateways, arrivals, core
        self._ids = folder / "ids.txt"
        self.rate = 0.0  # requests a second of the paced measurement
        self.figures = {gateway.peer.name: Figures() for gateway in gateways}

    def run(self, plan: Plan, say: Callable[[str], None]) -> None:
        for gateway in self._gateways:
            gateway.family.stop()
        self._warm_up(plan.warm_up_seconds)
        for number in range(plan.rounds):
            first = number % len(self._gateways)
            for gateway in [*self._gateways[first:], *self._gateways[:first]]:
                gateway.family.go_on()
                self._measure(gateway, plan.seconds)
                gateway.family.stop()
            cpu = {name: round(figures.cpu_us[-1], 1) for name, figures in self.figures.items()}
            say(f"round {number + 1} of {plan.rounds}, CPU us a request: {cpu}")
        for gateway in self._gateways:
            gateway.family.go_on()
            self.figures[gateway.peer.name].peak_mb = gateway.family.peak_mb()

    def _warm_up(self, seconds: int) -> None:
        """Also finds the rate that every paced gateway can bear."""
        borne = []
        for gateway in self._gateways:
            gateway.family.go_on()
            peer = gateway.peer
            for question in filter(None, (peer.stream, peer.whole)):
                done, *_ = self._asked(gateway, question, seconds)
                if question is peer.whole and peer.name in PACED:
                    borne.append(done.answered / done.seconds)
            gateway.family.stop()
        self.rate = min(borne) / 2

    def _measure(self, gateway: Running, seconds: int) -> None:
        peer, figures = gateway.peer, self.figures[gateway.peer.name]
        done, cpu, shipper_cpu = self._asked(gateway, peer.whole, seconds)
        figures.cpu_us.append(cpu / done.answered * 1e6)
        figures.requests_per_second.append(done.answered / done.seconds)
        figures.p50_ms.append(done.p50_ms)
        figures.p99_ms.append(done.p99_ms)
        if peer.name == OWN:
            figures.shipper_us.append(shipper_cpu / done.answered * 1e6)
        if peer.name in PACED:
            done, cpu, _ = self._asked(gateway, peer.whole, seconds, self.rate)
            figures.paced_cpu_us.append(cpu / done.answered * 1e6)
            figures.paced_p50_ms.append(done.p50_ms)
            figures.paced_p99_ms.append(done.p99_ms)
        if peer.stream is not None:
            done, cpu, _ = self._asked(gateway, peer.stream, seconds)
            # At the end each connection is, on average, half way through a stream that nobody counts.
            events = (done.answered + _connections(gateway) / 2) * EVENTS
            figures.event_cpu_us.append(cpu / events * 1e6)
            figures.events_per_second.append(events / done.seconds)

    def _asked(self, gateway: Running, question: Question, seconds: int, rate: float = 0) -> tuple[Load, float, float]:
        """What came back, the CPU seconds of the whole family, and of them those of its first process's children."""
        before = gateway.family.cpu_seconds()
        connections = _connections(gateway) if question.stream else CONNECTIONS
        done = load(question, self._ids, core=self._core, connections=connections, seconds=seconds, rate=rate)
        if gateway.peer.name == OWN:
            self._arrivals.wait_for(self._ids.read_bytes().split())
        after = gateway.family.cpu_seconds()
        spent = {pid: cpu - before.get(pid, 0.0) for pid, cpu in after.items()}
        return done, sum(spent.values()), sum(spent.values()) - spent[gateway.family.pid]


def _connections(gateway: Running) -> int:
    return FEW_CONNECTIONS.get(gateway.peer.name, CONNECTIONS)
