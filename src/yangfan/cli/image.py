"""`yangfan image`: a picture from a description."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yangfan.cli.connection import Connection, connected, dialect
from yangfan.cli.options import User, Version
from yangfan.errors import ConfigurationError

DEFAULT_MODEL = "stable-diffusion-xl"


@connected
def image(  # noqa: PLR0913 - the options of the command
    connection: Connection,
    prompt: Annotated[str, typer.Argument(help="What to show / 画面描述")],
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write; several get numbers / 输出文件")
    ] = Path("image.png"),
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of the model / 模型名")
    ] = DEFAULT_MODEL,
    negative: Annotated[
        str | None, typer.Option("--negative", help="What not to show / 不希望出现的内容")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", help="Such as 1024x768 / 尺寸，如 1024x768")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=4, help="How many / 张数")] = 1,
    steps: Annotated[int | None, typer.Option("--steps", help="Denoising steps / 步数")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Draws the same again / 随机种子")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", help="How closely to follow PROMPT, 0 to 30 / 提示词相关度"),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option("--sampler", help="Such as DPM++ 2M Karras, v1 / 采样方式")
    ] = None,
    style: Annotated[str | None, typer.Option("--style", help="Such as Anime, v1 / 风格")] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="FILE|URL", help="Start from this picture, v2 / 参考图"
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", exists=True, dir_okay=False, help="Draw over this picture / 原图"),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask",
            exists=True,
            dir_okay=False,
            help="Draw only where this is transparent, or white / 蒙版",
        ),
    ] = None,
    strength: Annotated[
        float | None, typer.Option("--strength", help="How far from it, up to 1 / 改动程度")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Overwrite files / 覆盖已有文件")
    ] = False,
    user: User = None,
    version: Version = None,
) -> None:
    """Draw a picture from a description. / 根据描述生成图像。

    Prints the path of each file that it wrote.
    """
    paths = [out] if count == 1 else [_numbered(out, index) for index in range(1, count + 1)]
    taken = [path for path in paths if path.exists()]
    if taken and not force:
        raise ConfigurationError(
            f"{taken[0]} exists; name another file with -o, or overwrite it with --force"
        )
    if source is None and (mask is not None or strength is not None):
        raise ConfigurationError("--mask and --strength are about a picture: name it with --from")
    if source is not None and (sampler or style or reference):
        raise ConfigurationError(
            "--sampler, --style and --reference do not go together with --from"
        )
    with connection.client(version=dialect(version)) as client, _waiting():
        if source is None:
            result = client.images.generate(
                prompt,
                model=model,
                negative_prompt=negative,
                size=size,
                n=count,
                steps=steps,
                seed=seed,
                guidance_scale=guidance,
                sampler=sampler,
                style=style,
                reference=None if reference is None else _picture(reference),
                user=user,
            )
        else:
            result = client.images.edit(
                prompt,
                source.read_bytes(),
                model=model,
                mask=None if mask is None else mask.read_bytes(),
                negative_prompt=negative,
                strength=strength,
                size=size,
                n=count,
                steps=steps,
                seed=seed,
                guidance_scale=guidance,
                user=user,
            )
    for path, picture in zip(paths, result, strict=True):
        typer.echo(str(picture.save(path, overwrite=force)))


def _picture(address: str) -> str | bytes:
    """A URL as it is, a file's content.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    if address.lower().startswith(("http://", "https://", "data:")):
        return address
    try:
        return Path(address).expanduser().read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {address}: {error.strerror}") from None


def _numbered(path: Path, index: int) -> Path:
    return path.with_name(f"{path.stem}-{index}{path.suffix}")


def _waiting():
    from rich.console import Console

    return Console(stderr=True).status("drawing … / 正在生成 …")
