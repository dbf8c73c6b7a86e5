"""What is refused is refused whole, in words, and changes nothing."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.model_server.adapters import Adapters
from services.model_server.refusals import Refusal
from shared import artifacts
from tests.services.model_server.bases import greedy, write_adapter
from tests.services.model_server.conftest import Running, Start

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def layers(base_folder: Path) -> Any:
    from transformers import LlamaForCausalLM

    from services.model_server.lora import LoraSwitch

    model = LlamaForCausalLM.from_pretrained(base_folder)
    return LoraSwitch(model, model.get_output_embeddings()).layers


@pytest.fixture
def adapters(layers: Any) -> Adapters:
    return Adapters("small", layers, max_adapters=2, max_rank=16)


@pytest.fixture
def folder(base_folder: Path, tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "adapter", base_folder)


def refused(adapters: Adapters, folder: Path, status: int = 400) -> str:
    before = adapters.all()
    with pytest.raises(Refusal) as caught:
        adapters.load("x", str(folder), in_place=True)
    assert caught.value.status == status
    assert adapters.all() == before
    return caught.value.message


def with_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    return folder


def with_config(folder: Path, **facts: object) -> Path:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    return folder


def test_the_pickled_file_is_never_read(adapters: Adapters, folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "trapped",))

    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Trap()))
    assert "only safetensors are read" in refused(adapters, folder)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\xff" * 8 + b[8:], lambda b: b[8:]]
)
def test_damaged_weights_are_refused(adapters: Adapters, folder: Path, damage: Callable[[bytes], bytes]) -> None:
    (folder / WEIGHTS).write_bytes(damage((folder / WEIGHTS).read_bytes()))
    assert "cannot be read as safetensors" in refused(adapters, folder)


def test_a_flipped_bit_is_found_where_a_manifest_describes_the_files(
    adapters: Adapters, base_folder: Path, tmp_path: Path
) -> None:
    with artifacts.writing(tmp_path / "run", "run", {}) as draft:
        write_adapter(draft / "adapter", base_folder)
    file = tmp_path / "run" / "adapter" / WEIGHTS
    adapters.load("sound", str(file.parent), in_place=False)
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    assert "is not the file the manifest describes" in refused(adapters, file.parent)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.clear(), "holds no tensors"),
        (lambda t: t.update({"model.embed.weight": torch.zeros(2)}), "no part of a plain LoRA adapter"),
        (lambda t: t.popitem(), "has no lora_"),
        (lambda t: t.update({next(iter(t)): torch.zeros(3, 3)}), "fits this base"),
        (lambda t: t.update({k: v[..., :-1].contiguous() for k, v in t.items() if "lora_A" in k}), "fits this base"),
        (lambda t: next(iter(t.values())).fill_(torch.nan), "not finite"),
        (lambda t: next(iter(t.values())).fill_(torch.inf), "not finite"),
        (
            lambda t: t.update({"base_model.model.lm_head.lora_A.weight": torch.zeros(8, 64)}),
            "adapts lm_head, which is no linear layer",
        ),
    ],
)
def test_weights_that_do_not_fit_the_base_are_refused(
    adapters: Adapters, folder: Path, change: Callable[[dict[str, torch.Tensor]], object], why: str
) -> None:
    assert why in refused(adapters, with_tensors(folder, change))


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"r": 32}, "greater than max_lora_rank 16"),
        ({"r": 4}, "fits this base"),
        ({"r": 0}, "r should be a whole number"),
        ({"r": "8"}, "r should be a whole number"),
        ({"lora_alpha": "much"}, "lora_alpha a number"),
        ({"lora_alpha": float("nan")}, "lora_alpha a number"),
        ({"peft_type": "IA3"}, "peft_type LORA"),
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the base"),
    ],
)
def test_settings_that_would_change_the_answer_are_refused(
    adapters: Adapters, folder: Path, facts: dict[str, object], why: str
) -> None:
    assert why in refused(adapters, with_config(folder, **facts))


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff", "[" * 100_000])
def test_a_config_that_is_no_json_object_is_refused(adapters: Adapters, folder: Path, text: str) -> None:
    (folder / "adapter_config.json").write_bytes(text.encode("latin-1"))
    assert "adapter_config.json" in refused(adapters, folder)


@pytest.mark.parametrize("path", ["nope", "bad\0path", "s3://bucket/adapter", "file://elsewhere/x", "x" * 5000])
def test_a_path_without_an_adapter_is_not_found(adapters: Adapters, tmp_path: Path, path: str) -> None:
    with pytest.raises(Refusal) as caught:
        adapters.load("x", path, in_place=False)
    assert (caught.value.status, caught.value.type) == (404, "NotFoundError")


def test_no_more_than_so_many_are_held(adapters: Adapters, folder: Path) -> None:
    for name in "ab":
        adapters.load(name, str(folder), in_place=False)
    assert "2 adapters are loaded, as many as this server holds" in refused(adapters, folder)
    adapters.load("b", str(folder), in_place=True)
    adapters.unload("a")
    adapters.load("c", str(folder), in_place=False)
    assert [adapter.name for adapter in adapters.all()] == ["b", "c"]


def test_a_uri_names_a_folder_too(adapters: Adapters, folder: Path) -> None:
    adapters.load("a", folder.as_uri(), in_place=False)
    assert adapters.get("a") is not None


def test_an_adapter_of_some_layers_leaves_the_others_as_they_are(
    start: Start, base_folder: Path, tmp_path: Path, adapter_folders: dict[str, Path]
) -> None:
    partial = with_tensors(
        shutil.copytree(adapter_folders["a"], tmp_path / "partial"),
        lambda tensors: [tensors.pop(key) for key in list(tensors) if "q_proj" not in key],
    )
    running = start()
    running.load({"partial": partial, "a": adapter_folders["a"]})
    from tests.services.model_server.bases import merged

    asked = running.ask(running.sequence("hello", "partial"), running.sequence("hello", "a"))
    assert asked[0].tokens == greedy(merged(base_folder, partial), asked[0].prompt, 20)
    assert asked[1].tokens == greedy(merged(base_folder, adapter_folders["a"]), asked[1].prompt, 20)


@pytest.mark.slow  # importing peft alone takes seconds
@pytest.mark.parametrize("rslora", [False, True])
def test_what_peft_saves_answers_as_in_peft(start: Start, base_folder: Path, tmp_path: Path, rslora: bool) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    torch.manual_seed(3)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM", use_rslora=rslora)
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base_folder), config).eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.2)
    model.save_pretrained(tmp_path / "saved")
    running: Running = start()
    running.load({"saved": tmp_path / "saved"})
    asked = running.ask(running.sequence("hello there", "saved"), running.sequence("hello"))[0]
    assert asked.tokens == greedy(model, asked.prompt, 20)
