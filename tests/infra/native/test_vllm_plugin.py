import sys
from importlib.metadata import distributions
from types import ModuleType

import pytest
import torch

from infra.native.vllm import PLUGIN
from infra.native.vllm_plugin import ratchet_vllm


def shrink(inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, at: torch.Tensor, scale: float) -> None:
    """As vLLM has it: -1 looks up the last adapter."""
    output[:] = scale * torch.einsum("bi,bri->br", inputs, weights[at])


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    modules = {name: ModuleType(name) for name in ratchet_vllm.USED_IN}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(module, "bgmv_shrink", shrink, raising=False)
    return modules[ratchet_vllm.USED_IN[0]]


def test_a_token_without_an_adapter_gets_none_and_the_others_keep_theirs(operations: ModuleType) -> None:
    ratchet_vllm.register()
    ratchet_vllm.register()
    inputs, weights = torch.ones(3, 4), torch.stack([torch.full((2, 4), 1.0), torch.full((2, 4), 5.0)])
    for name in ratchet_vllm.USED_IN:
        output = torch.full((3, 2), 9.0)
        sys.modules[name].bgmv_shrink(inputs, weights, output, torch.tensor([0, -1, 1]), 0.5)
        assert output.tolist() == [[2, 2], [0, 0], [10, 10]]


def test_a_vllm_without_that_operation_does_not_start(operations: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(operations, "bgmv_shrink")
    with pytest.raises(AttributeError, match="bgmv_shrink"):
        ratchet_vllm.register()


def test_vllm_finds_it_in_the_folder() -> None:
    (plugin,) = [p for d in distributions(path=[str(PLUGIN)]) for p in d.entry_points]
    assert (plugin.group, plugin.value) == ("vllm.general_plugins", "ratchet_vllm:register")
