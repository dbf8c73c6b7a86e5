"""Bases and adapters: found by name, loaded from safetensors only, never from pickles.

Fails: Unusable with the name and what would be right, before anything heavy where that is possible.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from shared import artifacts
from shared.errors import ArtifactInvalid, Unavailable, Unusable
from training.preset import Preset

BUILTIN = {"builtin:tiny": Path(__file__).parent / "tiny" / "base"}
HUB_SECONDS = 10.0
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def resolve_base(name: str) -> str:
    """What transformers should be given for this name: a folder for a builtin one, else the name itself.

    Fails: Unusable when it is neither a folder nor a model of the hub, Unavailable when the hub cannot be asked.
    """
    if name in BUILTIN:
        return str(BUILTIN[name])
    if name.startswith("builtin:"):
        raise Unusable(f"there is no base {name!r}; known: {', '.join(BUILTIN)}")
    if not Path(name).is_dir():
        _look_at_the_hub(name)
    return name


@lru_cache
def _look_at_the_hub(name: str) -> None:
    """Asks once for what is not in the cache: transformers would ask for each file, many times over."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    hub, do = constants.ENDPOINT, 'give a folder with safetensors, a hub name such as "org/model", or "builtin:tiny"'
    try:
        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            HfApi().model_info(name, timeout=HUB_SECONDS)
    except HFValidationError as error:
        raise Unusable(f"the base {name!r} is neither a folder here nor a name the hub could have; {do}") from error
    except GatedRepoError as error:
        raise Unusable(f"the base {name!r} is gated: accept its terms at {hub}/{name} and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise Unusable(
            f"the base {name!r} is neither a folder here nor a model at {hub} that this user may see; {do}. "
            "A private one needs HF_TOKEN"
        ) from error
    except OfflineModeIsEnabled as error:
        raise Unusable(
            f"the base {name!r} is neither a folder nor in the cache of this machine, and HF_HUB_OFFLINE forbids to "
            f"ask {hub}; unset it, or {do}"
        ) from error
    except Exception as error:  # whatever its HTTP client raises: refused, no such host, too slow, 5xx
        raise Unavailable(
            f"the base {name!r} is neither a folder nor in the cache of this machine, and {hub} cannot be asked for it "
            f"now ({type(error).__name__}: {_first_line(error)}); mend the network, or give a folder with safetensors"
        ) from error


def resolve_file(name: str) -> Path:
    """A file by its path, or of a builtin base by the base's name: `builtin:tiny/general_suite.jsonl`."""
    base, slash, rest = name.partition("/")
    if base.startswith("builtin:") and slash:
        return Path(resolve_base(base)) / rest
    return Path(name)


def public_name(name: str) -> str:
    """The base's name as it may stand in an artifact that travels: never a path of this machine."""
    return Path(name).name if Path(name).is_dir() else name


def load_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(resolve_base(name))
    except (OSError, ValueError) as error:
        raise Unusable(f"the tokenizer of {name!r} cannot be loaded: {_first_line(error)}") from error
    if not tokenizer.chat_template:
        raise Unusable(f"{name!r} has no chat template; take an instruction-tuned base")
    if tokenizer.eos_token_id is None:
        raise Unusable(f"{name!r} has no end token; take an instruction-tuned base")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def positions_of(name: str) -> int | None:
    """How many tokens the base can read and write together, by its configuration; None when that does not say."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(resolve_base(name))
    except (OSError, ValueError) as error:
        raise Unusable(f"the base {name!r} cannot be loaded: {_first_line(error)}") from error
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def load_base(name: str) -> Any:
    """The base on the GPU in bf16 when there is one, else on CPU in fp32; in evaluation mode."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar for one file of weights says nothing, and breaks logs
    on_gpu = torch.cuda.is_available()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            resolve_base(name), dtype=torch.bfloat16 if on_gpu else torch.float32, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise Unusable(f"the base {name!r} cannot be loaded: {_first_line(error)}") from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise Unusable(f"the weights of {name!r} are damaged: {error}") from error
    return model.to("cuda" if on_gpu else "cpu").eval()


def add_adapter(model: Any, preset: Preset) -> Any:
    """The base with a fresh LoRA adapter on every linear layer but the output; only the adapter learns."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=preset.r,
        lora_alpha=preset.alpha,
        lora_dropout=preset.dropout,
        target_modules="all-linear",
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def save_adapter(model: Any, folder: Path, base: str) -> None:
    """The two files and nothing else, with the same bytes for the same weights in every process."""
    model.save_pretrained(folder)
    for stray in folder.iterdir():
        if stray.name not in ADAPTER_FILES:
            stray.unlink()
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text())
    config["base_model_name_or_path"] = public_name(base)
    config["target_modules"] = sorted(config["target_modules"])  # PEFT writes a set in any order
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def adapter_sha256(folder: Path) -> str:
    """The hash that names a version: over the two adapter files."""
    return artifacts.sha256_of_files({name: {"sha256": artifacts.sha256_of(folder / name)} for name in ADAPTER_FILES})


def find_adapter(folder: Path) -> Path:
    """The folder of the two files, whether it was given itself or as the sealed run around it."""
    if (folder / artifacts.MANIFEST).is_file():
        artifacts.verify(folder, "run")
        folder = folder / "adapter"
    elif folder.name == "adapter" and (folder.parent / artifacts.MANIFEST).is_file():
        artifacts.verify(folder.parent, "run")
    for name in ADAPTER_FILES:  # checked first, since PEFT would fall back to a pickle
        if not (folder / name).is_file():
            raise ArtifactInvalid(f"{folder} is not an adapter: {name} is missing")
    return folder


def load_adapters(model: Any, folders: dict[str, Path]) -> Any:
    """The base with every adapter loaded under its name; all are off until `set_adapter`."""
    from peft import PeftModel

    for name, folder in folders.items():
        try:
            if hasattr(model, "load_adapter") and isinstance(model, PeftModel):
                model.load_adapter(str(folder), adapter_name=name)
            else:
                model = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
        except Exception as error:  # a damaged file surfaces as ValueError, RuntimeError, KeyError or SafetensorError
            raise ArtifactInvalid(
                f"the adapter in {folder} does not fit or is damaged: {_first_line(error)}"
            ) from error
    return model.eval()


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
