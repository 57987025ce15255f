"""`yangfan serve`: start the platform in this terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from yangfan.server.running import Ready

_INSTALL = 'the server is not installed here; type: pip install "yangfan[server,llama]"'


def serve(  # noqa: PLR0913 - one parameter per option
    home: Annotated[
        Path | None, typer.Option(help="Data folder, default ~/.yangfan / 数据目录")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, default 127.0.0.1 / 监听地址")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port, default 8000; 0 picks a free one / 端口")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to serve: catalogue name, .gguf file, or echo; repeatable / 要提供的模型，可重复"
        ),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="Write address and credentials here, as JSON, once ready / 就绪文件"),
    ] = None,
    slots: Annotated[
        int | None, typer.Option(help="Generations side by side, default 16 / 并发槽位")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads per model / 每个模型的线程数")
    ] = None,
    context_tokens: Annotated[int | None, typer.Option(help="Context window / 上下文长度")] = None,
    auth: Annotated[
        bool | None,
        typer.Option("--auth/--no-auth", help="Ask for credentials (default yes) / 是否需要鉴权"),
    ] = None,
    standby: Annotated[
        bool | None,
        typer.Option(
            "--standby",
            help="Wait while another server has the same PostgreSQL, then take over / 备用：等待后接管",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file, default HOME/yangfan.toml / 配置文件")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning, error / 日志级别")
    ] = None,
) -> None:
    """Start the platform; Ctrl-C stops it. / 启动平台，按 Ctrl-C 停止。"""
    try:
        import msgspec

        from yangfan.server import running, settings
    except ImportError as error:
        raise typer.Exit(_fail(f"{_INSTALL} ({error})")) from None
    from yangfan.cli.bars import Bars
    from yangfan.errors import YangfanError

    flags = {
        "home": None if home is None else str(home),
        "host": host,
        "port": port,
        "models": model or None,
        "slots": slots,
        "threads": threads,
        "context_tokens": context_tokens,
        "auth": auth,
        "standby": standby,
        "log_level": log_level,
    }
    try:
        chosen = settings.load(flags, os.environ, file=config)
        with Bars() as bars:

            def announce(ready: Ready) -> None:
                bars.close()
                typer.echo(_ANNOUNCEMENT.format(**msgspec.structs.asdict(ready)))

            running.run(chosen, ready_file=ready_file, progress=bars.update, announce=announce)
    except YangfanError as error:
        raise typer.Exit(_fail(error.message)) from None


def _fail(message: str) -> int:
    typer.echo(f"yangfan: {message}", err=True)
    return 1


_ANNOUNCEMENT = """
扬帆 Yangfan is ready at {base_url}   (reference: {base_url}/docs, stop: Ctrl-C)

  API Key / Secret Key (OAuth, v1)        {api_key}  {secret_key}
  Access Key / Secret Access Key (signed) {access_key}  {secret_access_key}
  Bearer key (v2, OpenAI)                 {bearer}

curl:
  curl -s {base_url}/v2/chat/completions -H 'Content-Type: application/json' \\
    -H 'Authorization: Bearer {bearer}' \\
    -d '{{"model":"ernie-speed-8k","messages":[{{"role":"user","content":"你好"}}]}}'

qianfan:
  QIANFAN_BASE_URL={base_url} QIANFAN_CONSOLE_API_BASE_URL={base_url} QIANFAN_IAM_BASE_URL={base_url} \\
  QIANFAN_AK={api_key} QIANFAN_SK={secret_key} \\
  python -c 'import qianfan; print(qianfan.ChatCompletion().do(model="ERNIE-Speed-8K", messages=[{{"role":"user","content":"你好"}}])["result"])'

openai:
  python -c 'from openai import OpenAI; c = OpenAI(base_url="{base_url}/v2", api_key="{bearer}"); print(c.chat.completions.create(model="ernie-speed-8k", messages=[{{"role":"user","content":"你好"}}]).choices[0].message.content)'
"""
