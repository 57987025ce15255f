"""The model that learns: read from a folder, given adapters, written again."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import ConfigurationError, Invalid
from yangfan.trainers.pipeline import libraries

if TYPE_CHECKING:
    from yangfan.trainers.base import HyperParameters, Method, TrainSpec

ADAPTER = "adapter_config.json"
_SAFE = {"local_files_only": True, "trust_remote_code": False}
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".index.json")


class Network:
    """A model and what of it is learnt.

    Args:
        spec: What is ordered.
        where: Device.
        dtype: float32 or bfloat16: what it computes in.
        going_on: Checkpoint's folder whose weights to take; None to begin.
        scores: Whether it gives one score for a text instead of tokens (reward models).

    Attributes:
        model: The library's model, adapters in it.
        method: Which numbers are learnt.
        offset: Virtual tokens before a row's own.
        keeps_base: Whether what it was before the first step is still there, below its adapter.

    Raises:
        ConfigurationError: The folder cannot be loaded.
        Invalid: The adapters cannot be made so.
    """

    def __init__(
        self,
        spec: TrainSpec,
        where: str,
        dtype: str,
        going_on: Path | None = None,
        *,
        scores: bool = False,
    ) -> None:
        torch = libraries.torch()
        self.method: Method = spec.method
        self._spec, self._scores = spec, scores
        self.dtype, self.where = dtype, where
        self.is_full = spec.method == "full"
        compute = getattr(torch, dtype)
        kept = torch.float32 if self.is_full else compute
        base = going_on if going_on is not None and self.is_full else Path(spec.base)
        self.base_dtype = written_dtype(Path(spec.base))
        model = self._read(base, kept)
        self.keeps_base = not self.is_full and not spec.adapter
        adapter = Path(spec.adapter) if spec.adapter else None
        if adapter is not None and not (self.is_full and going_on is not None):
            going_on, model = self._with_adapter(model, adapter, going_on)
        self.model: Any = model if self.is_full else self._adapted(model, going_on)
        self.model.to(where)
        if spec.hyper_parameters.gradient_checkpointing:
            self.model.config.use_cache = False
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
            self.model.enable_input_require_grads()
        self.offset = spec.hyper_parameters.num_virtual_tokens if self._is_prompt() else 0
        self.keeps_logits = not scores and _takes_logits_to_keep(self.model)
        self.mixed = self.is_full and dtype != "float32"

    @property
    def learnt(self) -> dict[str, Any]:
        """What is learnt, by name."""
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def save(self, folder: Path, *, final: bool = False) -> None:
        """Write it so that it can be loaded: an adapter, or a whole folder.

        Args:
            folder: New folder.
            final: In the precision that the base has; otherwise exactly as it is.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self.is_full:
            model = self.model
            if final and self.base_dtype is not None:
                model = model.to(self.base_dtype)
            model.save_pretrained(str(folder))
            copy_the_rest(Path(self._spec.base), folder)
        else:
            self.model.save_pretrained(str(folder), save_embedding_layers=False)
            config = folder / ADAPTER
            told = msgspec.json.decode(config.read_bytes())
            told["base_model_name_or_path"] = (
                self._spec.base_model
            )  # where it lay here tells nobody
            for name in ("target_modules", "modules_to_save"):  # sets, in no order of their own
                if isinstance(told.get(name), list):
                    told[name] = sorted(set(told[name]))
            config.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2))
            (folder / "README.md").unlink(missing_ok=True)
        for written in folder.iterdir():
            written.chmod(0o644)  # the library leaves some to their owner alone

    def _read(self, folder: Path, kept: Any) -> Any:
        transformers: Any = importlib.import_module("transformers")
        kind = "SequenceClassification" if self._scores else "CausalLM"
        more: dict[str, Any] = {"num_labels": 1} if self._scores else {}
        maker = getattr(transformers, f"AutoModelFor{kind}")
        try:
            try:
                return maker.from_pretrained(
                    str(folder),
                    attn_implementation="sdpa",
                    dtype=kept,
                    use_safetensors=True,
                    **_SAFE,
                    **more,
                )
            except ValueError as error:
                if "attention" not in str(error):
                    raise
                return maker.from_pretrained(
                    str(folder), dtype=kept, use_safetensors=True, **_SAFE, **more
                )
        except (OSError, ValueError, ImportError, KeyError) as error:
            raise ConfigurationError(
                f"the base model cannot be loaded for training: {type(error).__name__}: {error}"
            ) from error

    def _with_adapter(
        self, model: Any, adapter: Path, going_on: Path | None
    ) -> tuple[Path | None, Any]:
        """Go on with an adapter if it is of the kind that is learnt; otherwise put it into the base for good."""
        kind = _adapter_kind(adapter)
        if not self.is_full and kind == self._peft_kind():
            return going_on or adapter, model
        if kind != "LORA":
            raise Invalid(
                f"the run to go on from left a {kind} adapter, which cannot be merged; go on with the same method"
            )
        peft: Any = importlib.import_module("peft")
        merged = peft.PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        return going_on, merged.requires_grad_(requires_grad=True)

    def _adapted(self, model: Any, going_on: Path | None) -> Any:
        peft: Any = importlib.import_module("peft")
        if going_on is not None:
            config = peft.PeftConfig.from_pretrained(str(going_on))
            config.inference_mode = False
            adapted = peft.get_peft_model(model, config)
            weights = peft.utils.load_peft_weights(str(going_on), device="cpu")
            peft.utils.set_peft_model_state_dict(adapted, weights)
            return adapted
        hyper = self._spec.hyper_parameters
        kind = self._task(peft)
        if self._is_prompt():
            config = peft.PromptTuningConfig(
                task_type=kind, num_virtual_tokens=hyper.num_virtual_tokens
            )
        else:
            config = peft.LoraConfig(
                task_type=kind,
                r=hyper.lora_rank,
                lora_alpha=hyper.lora_alpha,
                lora_dropout=hyper.lora_dropout,
                target_modules=self._targets(hyper, peft, model),
                use_rslora=hyper.lora_rslora,
                use_dora=hyper.lora_dora,
            )
        try:
            return peft.get_peft_model(model, config)
        except ValueError as error:
            raise Invalid(
                f"the adapters cannot be made: {error}; see loraTargetModules",
                param="loraTargetModules",
            ) from error

    def _task(self, peft: Any) -> Any:
        """What peft calls the use of the model."""
        return peft.TaskType.SEQ_CLS if self._scores else peft.TaskType.CAUSAL_LM

    def _targets(self, hyper: HyperParameters, peft: Any, model: Any) -> Any:
        if hyper.lora_target_modules:
            return list(hyper.lora_target_modules)
        known = peft.utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
        if not hyper.lora_all_linear and model.config.model_type in known:
            return list(known[model.config.model_type])
        return "all-linear"

    def _is_prompt(self) -> bool:
        return self.method == "prompt_tuning"

    def _peft_kind(self) -> str:
        return "PROMPT_TUNING" if self._is_prompt() else "LORA"


def merge(base: Path, adapter: Path, target: Path, *, scores: bool = False) -> None:
    """Write a base and its LoRA adapter as one model, in the base's own precision; one that `scores` in 32 bits, for its scores are small.

    Raises:
        ConfigurationError: They cannot be loaded.
    """
    transformers: Any = importlib.import_module("transformers")
    peft: Any = importlib.import_module("peft")
    torch = libraries.torch()
    try:
        kind = "SequenceClassification" if scores else "CausalLM"
        more: dict[str, Any] = {"num_labels": 1} if scores else {}
        model = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(
            str(base), dtype=torch.float32, use_safetensors=True, **_SAFE, **more
        )
        merged = peft.PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigurationError(
            f"the adapter cannot be merged into its base: {type(error).__name__}: {error}"
        ) from error
    dtype = None if scores else written_dtype(base)
    target.mkdir(parents=True, exist_ok=True)
    (merged if dtype is None else merged.to(dtype)).save_pretrained(str(target))
    copy_the_rest(base, target)
    for written in target.iterdir():
        written.chmod(0o644)


def _adapter_kind(folder: Path) -> str:
    try:
        return str(msgspec.json.decode((folder / ADAPTER).read_bytes())["peft_type"])
    except (OSError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{folder.name} holds no adapter: {error}") from error


def written_dtype(base: Path) -> Any:
    """The precision of a folder's weights, as its config names it; None where it does not."""
    torch = libraries.torch()
    try:
        config = msgspec.json.decode((base / "config.json").read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    name = config.get("dtype") or config.get("torch_dtype")
    found = getattr(torch, str(name), None)
    return found if isinstance(found, torch.dtype) else None


def copy_the_rest(base: Path, folder: Path) -> None:
    """Tokenizer, template and so on, byte for byte."""
    for file in base.iterdir():
        if (
            file.is_file()
            and not file.name.endswith(_WEIGHTS)
            and not file.name.startswith(".")
            and file.name != "config.json"
        ):
            shutil.copyfile(file, folder / file.name)


def _takes_logits_to_keep(model: Any) -> bool:
    """Whether the model can leave out the logits that nobody learns from: most of the memory of a small model's step."""
    inspect = importlib.import_module("inspect")
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(inner.forward).parameters
