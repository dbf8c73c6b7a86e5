"""A vLLM plugin, loaded by every process of vLLM: on the CPU, a request for the base is answered by the base.

vLLM marks a token without an adapter by the index -1. Its operations for the CPU (0.32; vllm-project/vllm#48421) use it
to look the weights up, which gives the adapter in the last place: asked beside requests for adapters, the base answers
with a stranger's weights. Here such a token's product with A becomes zero, and so does its product with B.
Runs in vLLM's environment, not in ours. Fails: a vLLM where the operation is gone does not start.
"""

import sys
from importlib import import_module
from typing import Any

OPERATION = "bgmv_shrink"
USED_IN = ("vllm.lora.ops.torch_ops.lora_ops", "vllm.lora.ops.torch_ops", "vllm.lora.punica_wrapper.punica_cpu")


def register() -> None:
    """Twice: harmless."""
    operations = import_module(USED_IN[0])
    shrink = getattr(operations, OPERATION)
    if hasattr(shrink, "of_vllm"):
        return

    def skipping_the_base(inputs: Any, weights: Any, output: Any, indices: Any, scaling: float = 1.0) -> None:
        shrink(inputs, weights, output, indices, scaling)
        output[indices < 0] = 0

    skipping_the_base.of_vllm = shrink  # type: ignore[attr-defined]
    for name in USED_IN:
        if name in sys.modules:
            setattr(sys.modules[name], OPERATION, skipping_the_base)
