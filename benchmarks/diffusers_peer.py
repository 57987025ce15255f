"""diffusers alone, as most programs draw with it: reads `[prompt, side, steps, seed]` on a line, draws, and prints `[seconds, digest]`.

The digest is of the picture enlarged to the side named on the command line, as the platform's is; enlarging is not in the seconds.
"""

# pyright: basic, reportPrivateImportUsage=false
# diffusers' names come from a lazy module.

from __future__ import annotations

import hashlib
import json
import sys
from time import perf_counter
from typing import Any

import torch  # noqa: TID253 - this program is the bare library
from diffusers import StableDiffusionPipeline
from PIL import Image


def main() -> None:
    """Load the folder named on the command line, then draw until stdin ends."""
    final_side = int(sys.argv[2])
    pipeline: Any = StableDiffusionPipeline.from_pretrained(
        sys.argv[1],
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    print("ready", flush=True)
    for line in sys.stdin:
        prompt, side, steps, seed = json.loads(line)
        started = perf_counter()
        pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
        with torch.inference_mode():
            (pixels,) = pipeline(
                prompt,
                width=side,
                height=side,
                num_inference_steps=steps,
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
            ).images
        seconds = perf_counter() - started
        picture = Image.fromarray((pixels * 255).round().astype("uint8"))
        enlarged = picture.resize((final_side, final_side), Image.Resampling.LANCZOS)
        digest = hashlib.sha256(enlarged.tobytes())
        print(json.dumps([seconds, digest.hexdigest()]), flush=True)


if __name__ == "__main__":
    main()
