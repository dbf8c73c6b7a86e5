"""vLLM on the CPU, which loads and unloads adapters while it serves. Only when it is asked for by name.

It runs with the plugin in `vllm_plugin/`, without which its base answers wrongly beside adapters.
"""

from pathlib import Path

from infra.native.install import folder_of, python_pins
from infra.native.probes import http_answers, http_json
from infra.native.server import NotHealthy, Place, Server
from infra.native.settings import HOST
from shared.errors import BadConfig

# What promotion and the gateway need of any vLLM, here and in docker-compose.yml. An adapter that was pushed out of
# memory is read from its folder again by the next request for it, and when that fails the whole server ends: so there
# is room for as many as the embedded server holds.
DIALECT = (
    *("--enable-lora", "--max-lora-rank", "16", "--max-loras", "4", "--max-cpu-loras", "16"),
    "--enable-request-id-headers",
)
ENVIRONMENT = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
PLUGIN = Path(__file__).parent / "vllm_plugin"


def vllm(place: Place) -> Server:
    settings = place.settings
    python = folder_of(place.layout.servers, "vllm", python_pins("vllm")) / "environment/bin/python"
    return Server(
        name="vllm",
        port=settings.vllm_port,
        install=lambda installs: installs.python("vllm"),
        prepare=lambda run: _check_model(settings.vllm_model),
        command=[
            *(python, "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(Path(settings.vllm_model).resolve()), "--served-model-name", settings.vllm_served_name),
            *("--host", HOST, "--port", str(settings.vllm_port)),
            *("--dtype", settings.vllm_dtype, "--max-model-len", str(settings.vllm_max_length), "--max-num-seqs", "8"),
            *("--enforce-eager", *DIALECT),
        ],
        environment={
            **ENVIRONMENT,
            "PYTHONPATH": str(PLUGIN),
            "VLLM_PLUGINS": "ratchet_vllm",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CACHE_ROOT": str(place.layout.data("vllm")),
            "HF_HUB_OFFLINE": "1",
        },
        health=lambda: _serves(settings.vllm_port, settings.vllm_served_name),
        stop_seconds=30,
        start_seconds=420,
        memory_mb=4000,
    )


def _check_model(model: str) -> None:
    if not model:
        raise BadConfig("vLLM needs a model: set RATCHET_STACK_VLLM_MODEL to a folder with config.json and safetensors")
    if not (Path(model) / "config.json").exists():
        raise BadConfig(f"RATCHET_STACK_VLLM_MODEL={model}: there is no config.json in that folder")


def _serves(port: int, name: str) -> None:
    http_answers(port, "/health")
    served = {model.get("id") for model in http_json(port, "/v1/models").get("data", [])}
    if name not in served:
        raise NotHealthy(f"vLLM on port {port} serves {sorted(map(str, served))}, not {name}")
