"""The denoiser of a diffusion pipeline as what learns, and captions as what is read; the rest of the pipeline only serves it.

A pipeline is a diffusers folder (Stable Diffusion 1.x or XL): the UNet learns through adapters, the autoencoder and the text encoders
stay as they are and compute in 32 bits. An adapter is kept as peft keeps it, like any other here, and at the end also as
pytorch_lora_weights.safetensors, which every program knows that loads LoRA for Stable Diffusion.
"""

from __future__ import annotations

import importlib
import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.engines._pipeline_folder import check_folder
from yangfan.engines._safetensors import check_weights
from yangfan.errors import ConfigurationError
from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.models import Network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yangfan.trainers.base import HyperParameters

INDEX = "model_index.json"
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The attention of a UNet, which is what adapters for Stable Diffusion usually change."""

LORA_FILE = "pytorch_lora_weights.safetensors"
_OTHERS = "lora"
WITHOUT = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


class Captions:
    """The tokenizer of a pipeline.

    Args:
        folder: Of the pipeline.
    """

    def __init__(self, folder: Path) -> None:
        transformers: Any = importlib.import_module("transformers")
        check_folder(folder)
        self._tokenizer: Any = transformers.CLIPTokenizer.from_pretrained(
            str(folder / "tokenizer"), local_files_only=True
        )

    def count(self, text: str) -> int:
        """Tokens of a caption that the model reads; what is beyond its length it does not."""
        return min(len(self._tokenizer(text).input_ids), int(self._tokenizer.model_max_length))


class Painting(Network):
    """A pipeline whose UNet learns.

    Attributes:
        pipeline: The whole of it; its UNet is the one that learns.
        side: Pixels of the pictures that it was trained on.
        scale: Pixels a latent's side.
    """

    pipeline: Any
    side: int
    scale: int

    def _read(self, folder: Path, kept: Any) -> Any:
        del (
            kept
        )  # mixed precision of these small steps gains nothing on a CPU, and autoencoders overflow
        torch = libraries.torch()
        # Attention in 32 bits on a GPU is the same each time only where nothing else is allowed; all that these UNets do can be.
        torch.use_deterministic_algorithms(mode=True, warn_only=False)
        self.pipeline = read_pipeline(folder, torch.float32)
        self.pipeline.to(self.where)
        for part in self.pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(requires_grad=False)
        unet = self.pipeline.unet
        sample = unet.config.sample_size
        self.scale = int(self.pipeline.vae_scale_factor)
        self.side = (sample if isinstance(sample, int) else max(sample)) * self.scale
        return unet

    def _task(self, peft: Any) -> Any:
        del peft
        return None

    def _targets(self, hyper: HyperParameters, peft: Any, model: Any) -> Any:
        del peft, model
        return list(hyper.lora_target_modules or TARGETS)

    def save(self, folder: Path, *, final: bool = False) -> None:
        """Write the adapter; at the end in the form of other programs, too."""
        super().save(folder, final=final)
        if final:
            peft: Any = importlib.import_module("peft")
            safetensors: Any = importlib.import_module("safetensors.torch")
            config = self.model.peft_config["default"]
            # Programs that read no alpha take it to be the rank.
            scale = config.lora_alpha / config.r
            tensors: dict[str, Any] = {}
            for name, value in peft.get_peft_model_state_dict(self.model).items():
                grown = value * scale if ".lora_B." in name else value
                plain = name.removeprefix("base_model.model.")
                tensors[f"unet.{plain}"] = grown.detach().cpu().contiguous()
            safetensors.save_file(tensors, str(folder / LORA_FILE), metadata={"format": "pt"})

    def conditions(self, captions: Sequence[str]) -> tuple[Any, dict[str, Any]]:
        """What captions say, as the UNet reads it: its states, and what else an XL pipeline wants to know."""
        torch = libraries.torch()
        with torch.no_grad():
            encoded = self.pipeline.encode_prompt(
                prompt=list(captions),
                device=self.where,
                num_images_per_prompt=1,
                do_classifier_free_guidance=False,
            )
        if len(encoded) == 2:
            return encoded[0], {}
        states, _, pooled, _ = encoded
        size = [self.side, self.side, 0, 0, self.side, self.side]
        ids = torch.tensor([size] * len(captions), dtype=states.dtype, device=self.where)
        return states, {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": ids}}

    def latents(self, pixels: Any) -> Any:
        """Pictures, (n, 3, side, side) from -1 to 1, as the UNet sees them; the middle of what the autoencoder says."""
        torch, vae = libraries.torch(), self.pipeline.vae
        with torch.no_grad():
            encoded = vae.encode(pixels)
            found = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        return (
            found - (getattr(vae.config, "shift_factor", None) or 0.0)
        ) * vae.config.scaling_factor


def read_pipeline(folder: Path, dtype: Any) -> Any:
    """A pipeline from its folder, none of whose code is run.

    Raises:
        ConfigurationError: It holds code or pickles, or is no Stable Diffusion.
    """
    diffusers: Any = importlib.import_module("diffusers")
    check_folder(folder)
    index: dict[str, Any] = msgspec.json.decode((folder / INDEX).read_bytes())
    name = str(index.get("_class_name"))
    if name not in {"StableDiffusionPipeline", "StableDiffusionXLPipeline"}:
        raise ConfigurationError(
            f"only Stable Diffusion 1.x and XL are tuned, and this is a {name}"
        )
    halves = any(folder.rglob("*.fp16.safetensors"))
    try:
        return getattr(diffusers, name).from_pretrained(
            str(folder),
            use_safetensors=True,
            local_files_only=True,
            dtype=dtype,
            variant="fp16" if halves else None,
            **(WITHOUT if name == "StableDiffusionPipeline" else {}),
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ConfigurationError(
            f"the base model cannot be loaded for training: {type(error).__name__}: {error}"
        ) from error


def merge(base: Path, adapter: Path, target: Path) -> None:
    """Write a pipeline whose UNet has an adapter in it for good, in the precision of the base.

    Raises:
        ConfigurationError: They cannot be loaded, or do not belong together.
    """
    peft: Any = importlib.import_module("peft")
    torch = libraries.torch()
    unet = read_pipeline(base, torch.float32).unet
    try:
        merged = peft.PeftModel.from_pretrained(unet, str(adapter)).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigurationError(
            f"the adapter cannot be merged into its base: {type(error).__name__}: {error}"
        ) from error
    shutil.copytree(base, target, ignore=shutil.ignore_patterns(".*"))
    _rewrite(merged, base / "unet", target / "unet")


def merge_file(base: Path, file: Path, target: Path) -> None:
    """Write a pipeline that has other people's LoRA file in it for good, such as pytorch_lora_weights.safetensors or one of kohya's.

    Raises:
        ConfigurationError: They cannot be loaded, or do not belong together.
    """
    safetensors: Any = importlib.import_module("safetensors.torch")
    check_weights(file)
    pipeline = read_pipeline(base, libraries.torch().float32)
    try:
        pipeline.load_lora_weights(safetensors.load_file(str(file)), adapter_name=_OTHERS)
        changed = list(pipeline.get_list_adapters())
        if changed:
            pipeline.fuse_lora(components=changed, adapter_names=[_OTHERS])
            pipeline.unload_lora_weights()
    except (OSError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise ConfigurationError(
            f"{file.name} is no LoRA of this base: {type(error).__name__}: {str(error)[:400]}; name the base that it was trained on"
        ) from error
    torch = libraries.torch()
    for part in changed:
        if not all(torch.isfinite(value).all() for value in getattr(pipeline, part).parameters()):
            raise ConfigurationError(
                f"{file.name} makes numbers of {part} that are none; it is damaged"
            )
    if not changed:
        raise ConfigurationError(
            f"{file.name} changes no layer of this base; name the Stable Diffusion that it was trained on"
        )
    shutil.copytree(base, target, ignore=shutil.ignore_patterns(".*"))
    for part in changed:
        _rewrite(getattr(pipeline, part), base / part, target / part)


def _rewrite(part: Any, base: Path, target: Path) -> None:
    """Write a part of a pipeline in the place, the precision and under the names of the one that it was made of."""
    for old in target.glob("*.safetensors*"):
        old.unlink()
    (file,) = sorted(base.glob("*.safetensors"))[:1]
    safetensors: Any = importlib.import_module("safetensors")
    with safetensors.safe_open(str(file), framework="pt") as weights:
        dtypes = (weights.get_tensor(name).dtype for name in weights.keys())  # noqa: SIM118 - no dictionary
        kept = next(dtype for dtype in dtypes if dtype.is_floating_point)
    variant = "fp16" if ".fp16." in file.name else None
    part.to(kept).save_pretrained(str(target), variant=variant)
    shutil.copyfile(base / "config.json", target / "config.json")
