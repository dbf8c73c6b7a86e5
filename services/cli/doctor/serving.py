"""The model servers: there, serving the base that ratchet.toml names, ready to take adapters."""

from collections.abc import Iterator

from services.cli.doctor.findings import Finding, misconfigured, ok, wrong
from services.cli.doctor.web import ask, asked_json
from shared.errors import Unavailable
from shared.settings import SharedSettings
from shared.workloads import Deployment

NAME = "model servers"


def upstreams(settings: SharedSettings, deployment: Deployment, api_key: str) -> Iterator[Finding]:
    for model in dict.fromkeys(workload.base for workload in deployment.workloads.values()):
        urls = settings.upstreams(model)
        if not urls:
            do = f"add {model}=http://host:port, or an address without a name"
            yield misconfigured(NAME, f"RATCHET_UPSTREAM_URLS names no server for {model}", do)
        for url in urls:
            yield from replica(model, url, api_key)


def replica(model: str, url: str, api_key: str = "") -> Iterator[Finding]:
    try:
        listed = asked_json(f"{url}/v1/models", bearer=api_key)
        served = [str(entry.get("id")) for entry in listed.get("data", [])]
        takes = ask("POST", f"{url}/v1/load_lora_adapter", bearer=api_key, body={})
    except Unavailable as error:
        yield wrong(NAME, str(error), "start it, or mend RATCHET_UPSTREAM_URLS; requests get 503 or another replica")
        return
    yield of_served(model, url, served)
    yield of_adapters(url, takes.status_code)


def of_served(model: str, url: str, served: list[str]) -> Finding:
    if model in served:
        adapters = len(served) - 1
        return ok(NAME, f"{url} serves {model} and {adapters} adapter{'' if adapters == 1 else 's'}")
    says = f"{url} serves {', '.join(served) or 'nothing'}, not {model}"
    return misconfigured(NAME, says, f"start it with --served-model-name {model}, or rename the section of [models]")


def of_adapters(url: str, status: int) -> Finding:
    """status: of a load without a name, which every server that takes adapters refuses, and which changes nothing."""
    if status in (400, 422):
        return ok(NAME, f"{url} takes adapters while it serves")
    says = f"{url} takes no adapters while it serves (it answered {status})"
    return misconfigured(NAME, says, "start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora")
