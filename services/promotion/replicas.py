"""One model server, in vLLM's adapter dialect.

Twice: loading what is loaded and unloading what is gone are successes.
Fails: ReplicaAway when it cannot be reached or answers 5xx; Unusable with its sentence when it refuses. vLLM says 500
where an adapter cannot be used (its rank is too high, DoRA, damaged files): that is a refusal too.
"""

from dataclasses import dataclass

import httpx

from shared.errors import Unavailable, Unusable

_VLLM_REFUSES = "Call to add_lora method failed"
_NO_MEMORY = ("out of memory", "alloc")  # may pass, unlike the adapter's own faults


class ReplicaAway(Unavailable):
    """A model server that does not answer, or is not well."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a model server holds: bases by their served names, and adapters."""

    bases: frozenset[str]
    adapters: frozenset[str]


class Replica:
    """Safe to share between threads."""

    def __init__(self, url: str, *, list_seconds: float, load_seconds: float) -> None:
        self.url = url
        self._list_seconds, self._load_seconds = list_seconds, load_seconds
        self._client = httpx.Client(base_url=url)

    def holding(self) -> Holding:
        response = self._ask("GET", "/v1/models", seconds=self._list_seconds)
        if response.status_code != 200:
            raise ReplicaAway(f"{self.url}/v1/models answered {response.status_code}: {_sentence(response)}")
        try:
            cards = [(str(card["id"]), card.get("parent")) for card in response.json()["data"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReplicaAway(f"{self.url}/v1/models did not answer a list of models: {error}") from error
        return Holding(
            frozenset(name for name, parent in cards if not parent),
            frozenset(name for name, parent in cards if parent),
        )

    def load(self, name: str, path: str) -> None:
        body = {"lora_name": name, "lora_path": path}
        response = self._ask("POST", "/v1/load_lora_adapter", body, seconds=self._load_seconds)
        if response.status_code == 200:
            return
        # "already loaded" and a bad adapter are both 400: what it holds now tells them apart, whatever its words.
        if response.status_code == 400 and name in self.holding().adapters:
            return
        self._raise(response, f"loading {name}")

    def unload(self, name: str) -> None:
        response = self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name}, seconds=self._load_seconds)
        if response.status_code not in (200, 404):
            self._raise(response, f"unloading {name}")

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, path: str, body: object = None, *, seconds: float) -> httpx.Response:
        timeout = httpx.Timeout(seconds, connect=min(seconds, 2.0))
        try:
            return self._client.request(method, path, json=body, timeout=timeout)
        except httpx.HTTPError as error:
            raise ReplicaAway(f"{self.url} cannot be reached: {type(error).__name__}: {error}") from error

    def _raise(self, response: httpx.Response, what: str) -> None:
        said = _sentence(response)
        sentence = f"{self.url}: {what} answered {response.status_code}: {said}"
        if (response.status_code >= 500 and not _blames_the_adapter(said)) or response.status_code == 429:
            raise ReplicaAway(sentence)
        if response.status_code == 404 and "No adapter found" in said:
            sentence += "; can that server read the folder under the same path?"
        elif response.status_code == 404 and "detail" in response.text:
            sentence += "; is loading at run time switched on there (VLLM_ALLOW_RUNTIME_LORA_UPDATING)?"
        elif "max_lora_rank" in said:
            sentence += "; raise max_lora_rank there, or train with a smaller r"
        raise Unusable(sentence)


def _blames_the_adapter(said: str) -> bool:
    return said.startswith(_VLLM_REFUSES) and not any(words in said.lower() for words in _NO_MEMORY)


def _sentence(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return response.text[:300]
