"""All settings of the server: frozen, layered, validated once. The only server file that reads the environment.

Layers, later ones win: the defaults below, `yangfan.toml` in the home folder (or the file given), variables `YANGFAN_*`, flags.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.errors import ConfigurationError

EMBEDDED_MODELS = ("smollm2-135m-instruct", "all-minilm-l6-v2")
"""What is served when nothing else is asked for: one to chat with, one for embeddings."""

_PREFIX = "YANGFAN_"
_COMMON_NAMES = {"hf_endpoint": "HF_ENDPOINT", "hf_token": "HF_TOKEN"}
"""Variables that other tools use for the same thing; ours wins."""

_SECRET = frozenset(
    {"database", "hf_token", "plugins", "s3_secret_access_key", "trackers", "weather_key"}
)
"""Settings that are not shown."""

_LISTS = frozenset(
    {"models", "cors_origins", "egress_allow", "data_import_folders", "tuning_nodes"}
)
_TABLES = frozenset({"options", "upstreams", "plugins", "mcp_programs", "trackers"})
"""What only a settings file can say."""


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table [upstreams.NAME]: somebody else's server of OpenAI's shape, or Baidu's v2 cloud.

    Attributes:
        base_url: Such as ``https://qianfan.baidubce.com/v2``.
        dialect: openai, or qianfan for Baidu's cloud and for another Yangfan.
        key_file: File that holds its key alone.
        key: The key itself, where the settings file is kept as a secret.
        models: Names to offer; all that it lists if unset.
        kinds: What a model is for, where its name does not tell: chat, embeddings, rerank, images.
        rename: Name in calls to name there, for models that were retired or are called otherwise.
        presets: Whether it answers Qianfan's names.
        first_byte_timeout_seconds: Longest wait for an answer to begin.
        idle_timeout_seconds: Longest silence within an answer.
        ca_file: Certificates to trust instead of the system's, for servers with a certificate of one's own.
    """

    base_url: str
    dialect: Literal["openai", "qianfan"] = "openai"
    key_file: str | None = None
    key: str | None = None
    models: tuple[str, ...] | None = None
    kinds: Mapping[str, Literal["chat", "embeddings", "rerank", "images"]] = msgspec.field(
        default_factory=dict[str, Literal["chat", "embeddings", "rerank", "images"]]
    )
    rename: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    presets: bool = True
    first_byte_timeout_seconds: Annotated[float, Meta(gt=0)] = 120.0
    idle_timeout_seconds: Annotated[float, Meta(gt=0)] = 120.0
    ca_file: str | None = None

    def __repr__(self) -> str:
        """Everything but the key."""
        return f"UpstreamSettings({self.base_url!r}, dialect={self.dialect!r})"


class MLflowSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [trackers.mlflow].

    Attributes:
        uri: Of its server, such as ``https://mlflow.example.com``; one on this machine or by http must be in `egress_allow`.
        experiment: Which experiment gets the runs; it is made if there is none.
        token: A bearer token, where it asks for one.
    """

    uri: str
    experiment: str = "yangfan"
    token: str | None = None


class WandbSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [trackers.wandb], for Weights & Biases; it needs the extra ``wandb``.

    Attributes:
        project: Which project gets the runs.
        entity: Whose it is; the key's own if unset.
        api_key: Sends runs as they go; without one they stay in their folders for ``wandb sync``.
    """

    project: str = "yangfan"
    entity: str | None = None
    api_key: str | None = None


class TrackerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tables [trackers.NAME]: what is told of training runs. None by default."""

    mlflow: MLflowSettings | None = None
    wandb: WandbSettings | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about one server that can be chosen.

    Each name is a key of `yangfan.toml` and, in capitals behind `YANGFAN_`, an environment variable; lists are
    comma-separated there, and `presets` is a list of `preset=model`.
    """

    home: Annotated[str, Meta(description="Folder of the database, keys, models and logs.")] = (
        "~/.yangfan"
    )
    model_store: Annotated[
        str | None, Meta(description="Folder of the models, to share it; the home folder if unset.")
    ] = None
    database: Annotated[
        str | None,
        Meta(
            description="PostgreSQL to use instead of a file in the home folder: `postgresql://USER:PASSWORD@HOST/NAME`."
        ),
    ] = None
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    ] = 8000
    models: Annotated[
        tuple[str, ...],
        Meta(
            description="Models to serve: catalogue names, paths of .gguf files, or echo. The first one that can answers presets."
        ),
    ] = EMBEDDED_MODELS
    presets: Annotated[
        Mapping[str, str],
        Meta(
            description='Which served model answers a preset name: `"ernie-4.0-8k" = "qwen3-8b"`.'
        ),
    ] = msgspec.field(default_factory=dict[str, str])
    options: Annotated[
        Mapping[str, Mapping[str, Any]],
        Meta(
            description="Options of single models, in the settings file: a table [options.MODEL] with `engine`, `context_tokens`, "
            "`slots`, `threads`, `adapters`, `quantize`, `max_inputs`, `max_input_chars`, `max_input_tokens`, and what the engine takes."
        ),
    ] = msgspec.field(default_factory=dict[str, Mapping[str, Any]])
    upstreams: Annotated[
        Mapping[str, UpstreamSettings],
        Meta(
            description="Other people's servers to ask, in the settings file: a table [upstreams.NAME] with `base_url`, `dialect`, "
            "`key_file`, `models` and more; see the guide on bridges."
        ),
    ] = msgspec.field(default_factory=dict[str, UpstreamSettings])
    auth: Annotated[
        bool, Meta(description="Ask for credentials. False only on a loopback address.")
    ] = True
    cors_origins: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Addresses of web pages that may call from a browser, such as `https://chat.example.com`; `*` for every page, `localhost` for"
            " those of this machine. If unset, every page where credentials are asked for, otherwise those of this machine."
        ),
    ] = None
    lenient: Annotated[
        bool,
        Meta(
            description="Put v1 messages right instead of refusing them: system turns, one role twice in a row."
        ),
    ] = False
    slots: Annotated[
        int, Meta(ge=1, le=1024, description="Generations side by side, per model.")
    ] = 16
    context_tokens: Annotated[
        Annotated[int, Meta(ge=64)] | None,
        Meta(description="Context window per request; the model's own if unset."),
    ] = None
    threads: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="CPU threads per model; all cores if unset."),
    ] = None
    vllm_python: Annotated[
        str | None,
        Meta(
            description="Python of an environment with vLLM, which then runs safetensors models where there is a GPU."
        ),
    ] = None
    max_waiting: Annotated[
        int,
        Meta(
            ge=0,
            description="Calls that may wait for a slot, per model; more are refused as overload.",
        ),
    ] = 512
    max_waiting_per_key: Annotated[
        int,
        Meta(ge=0, description="Calls of one key that may wait for a slot, per model."),
    ] = 128
    max_wait_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description="Longest wait for a slot; a call that is expected to wait longer is refused at once.",
        ),
    ] = 60.0
    first_byte_timeout_seconds: Annotated[
        float,
        Meta(
            gt=0, description="How long a call may wait for a running engine before it is refused."
        ),
    ] = 60.0
    services_memory_bytes: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Memory that the engines of services made by callers may have together; what is free if unset."
        ),
    ] = None
    max_body_bytes: Annotated[int, Meta(ge=1024, description="Largest request body.")] = (
        16 * 1024 * 1024
    )
    max_upload_bytes: Annotated[
        int,
        Meta(ge=1024, description="Largest model that can be sent here, all its files together."),
    ] = 256 * 1024**3
    files_quota_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="What the files of one application may have together, results of batches apart; 0 for no limit.",
        ),
    ] = 100 * 1024**3
    batch_at_once: Annotated[
        int,
        Meta(ge=1, le=256, description="Requests of one batch that are asked side by side."),
    ] = 4
    data_import_folders: Annotated[
        tuple[str, ...],
        Meta(
            description="Folders of this machine that datasets may be imported from by their path; none if unset."
        ),
    ] = ()
    deduplication_memory_bytes: Annotated[
        int,
        Meta(
            ge=1 << 20,
            description="What looking for near-duplicates may take of the memory, per job; the rest of its index goes into files.",
        ),
    ] = 256 << 20
    ray_address: Annotated[
        str | None,
        Meta(
            description="Ray cluster that runs the operators of cleaning, such as `10.0.0.1:6379`, or auto; this machine if unset."
        ),
    ] = None
    max_header_bytes: Annotated[int, Meta(ge=1024, description="Largest request head.")] = 64 * 1024
    read_timeout_seconds: Annotated[
        float, Meta(gt=0, description="How long a client may take to send a request.")
    ] = 60.0
    rpm: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Requests a minute of a key without a limit of its own; none if unset."),
    ] = None
    tpm: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Tokens a minute, prompt and answer, of a key without a limit of its own; none if unset."
        ),
    ] = None
    model_rpm: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Requests a minute of each model, all keys together; no limit if unset."),
    ] = None
    model_tpm: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Tokens a minute of each model, all keys together; no limit if unset."),
    ] = None
    app_qps: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Requests a second of each application; no limit if unset."),
    ] = None
    standby: Annotated[
        bool,
        Meta(
            description="Where another server serves from the same PostgreSQL database: wait, and take over when it ends."
        ),
    ] = False
    jobs_at_once: Annotated[
        int,
        Meta(ge=0, le=1024, description="Jobs that may run side by side; 0 leaves all waiting."),
    ] = 2
    job_lease_seconds: Annotated[
        float,
        Meta(
            ge=1, description="A worker that is silent so long has lost its job to another attempt."
        ),
    ] = 30.0
    jobs_keep_days: Annotated[
        float,
        Meta(
            gt=0,
            le=36_500,
            description="Days that a job and its log are kept after its end; what it made is kept in any case.",
        ),
    ] = 30.0
    egress_allow: Annotated[
        tuple[str, ...],
        Meta(description="Private hosts and networks that outbound fetches may reach."),
    ] = ()
    weather_base_url: Annotated[
        str, Meta(description="A provider of weather in Open-Meteo's shape.")
    ] = "https://api.open-meteo.com"
    weather_key: Annotated[str, Meta(description="The provider's key, if it wants one.")] = ""
    plugins: Annotated[
        Mapping[str, Mapping[str, str | int | float | bool]],
        Meta(
            description="What single plugins are told, in the settings file: a table [plugins.ID] with what `yangfan plugins show ID` lists."
        ),
    ] = msgspec.field(default_factory=dict[str, Mapping[str, str | int | float | bool]])
    tuning_processes: Annotated[
        int,
        Meta(
            ge=0,
            description="Processes of a training run, one for each GPU; 0 for all GPUs of the machine, and one process where there are none.",
        ),
    ] = 0
    tuning_nodes: Annotated[
        tuple[str, ...],
        Meta(
            description="Commands that start `yangfan worker node` on the other machines of training runs, such as"
            " `ssh -o BatchMode=yes gpu2 yangfan worker node`; none if unset."
        ),
    ] = ()
    tuning_rendezvous: Annotated[
        Annotated[str, Meta(pattern=r".:[0-9]{1,5}$")] | None,
        Meta(
            description="Where the machines of a training run meet: host:port of this one, as the others reach it, such as 10.0.0.1:29400.",
        ),
    ] = None
    trackers: Annotated[
        TrackerSettings,
        Meta(
            description="What is told of training runs, in the settings file: a table [trackers.mlflow] with `uri`, `experiment` and `token`, "
            "or [trackers.wandb] with `project`, `entity` and `api_key`."
        ),
    ] = TrackerSettings()
    mcp_programs: Annotated[
        Mapping[str, tuple[str, ...]],
        Meta(
            description='MCP servers that bridges may start on this machine, in the settings file: `NAME = ["program", "argument"]` in the'
            " table [mcp_programs]; none if unset."
        ),
    ] = msgspec.field(default_factory=dict[str, tuple[str, ...]])
    egress_proxy: Annotated[
        str | None, Meta(description="http or https proxy for outbound fetches.")
    ] = None
    hf_endpoint: Annotated[
        str, Meta(description="Hugging Face or a mirror of it, such as https://hf-mirror.com.")
    ] = "https://huggingface.co"
    hf_token: Annotated[
        str | None, Meta(description="Token for private and gated repositories of Hugging Face.")
    ] = None
    modelscope_endpoint: Annotated[str, Meta(description="ModelScope or a mirror of it.")] = (
        "https://www.modelscope.cn"
    )
    s3_endpoint: Annotated[
        str,
        Meta(
            description="S3-compatible store for models, such as https://s3.bj.bcebos.com (Baidu's BOS)."
        ),
    ] = "https://s3.amazonaws.com"
    s3_region: Annotated[
        str, Meta(description="Region that requests to the S3 store are signed for.")
    ] = "us-east-1"
    s3_access_key_id: Annotated[
        str | None, Meta(description="Whose requests the S3 store gets; unset for open buckets.")
    ] = None
    s3_secret_access_key: Annotated[
        str | None, Meta(description="Signs requests to the S3 store.")
    ] = None
    echo_delay_seconds: Annotated[
        float,
        Meta(ge=0, description="Pause of the echo model before each token, for demonstrations."),
    ] = 0.0
    metrics: Annotated[
        Literal["local", "public", "off"],
        Meta(description="Who may read /metrics: programs on this machine, everybody, nobody."),
    ] = "local"
    request_log: Annotated[
        bool,
        Meta(description="Write one line a call to logs/requests.log, without what was said."),
    ] = True
    otlp_endpoint: Annotated[
        str | None,
        Meta(
            description="OpenTelemetry collector for a span a call, such as http://127.0.0.1:4318/v1/traces; needs the extra otel."
        ),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="How much is logged.")
    ] = "info"

    def __repr__(self) -> str:
        """Everything but secrets."""
        shown = {
            name: getattr(self, name) for name in self.__struct_fields__ if name not in _SECRET
        }
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def plugin_settings(self) -> dict[str, Mapping[str, Any]]:
        """The tables of plugins, with what is a setting of its own."""
        weather = {"base_url": self.weather_base_url, "key": self.weather_key}
        name = "uuid-weatherforecast"
        return {**self.plugins, name: {**weather, **self.plugins.get(name, {})}}

    @property
    def home_path(self) -> Path:
        """The home folder, absolute."""
        return Path(self.home).expanduser().absolute()

    @property
    def model_store_path(self) -> Path:
        """Root of the model store, absolute."""
        return (
            self.home_path
            if self.model_store is None
            else Path(self.model_store).expanduser().absolute()
        )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str], *, file: Path | None = None
) -> Settings:
    """Merge the layers and validate.

    Args:
        flags: Settings given on the command line; None values count as not given.
        environ: The process's environment.
        file: A settings file that must exist; otherwise `yangfan.toml` in the home folder, if it is there.

    Raises:
        ConfigurationError: A setting is unknown or has a value that is not allowed; the message names it.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    from_environment = _from_environment(environ)
    home = given.get("home") or from_environment.get("home") or Settings().home
    path = file or Path(str(home)).expanduser() / "yangfan.toml"
    merged: dict[str, Any] = {}
    if file is not None or path.is_file():
        merged.update(_from_file(path))
    merged.update(from_environment)
    merged.update(given)
    try:
        settings = msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"settings: {error}; see `yangfan serve --help` and {path}"
        ) from None
    if not settings.models and not settings.upstreams:
        raise ConfigurationError(
            "settings: `models` names no model; give at least one, such as echo, or an upstream"
        )
    if not settings.auth and not settings.loopback:
        raise ConfigurationError(
            f"settings: auth = false lets anybody in, so it needs a loopback host, not {settings.host}"
        )
    if settings.tuning_nodes and settings.tuning_rendezvous is None:
        raise ConfigurationError(
            "settings: tuning_nodes names other machines, so tuning_rendezvous must say where they reach this one, such as 10.0.0.1:29400"
        )
    return settings


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the settings file {path}: {error.strerror}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        if name in _TABLES:
            continue
        text = environ.get(_PREFIX + name.upper(), environ.get(_COMMON_NAMES.get(name, "")))
        if text is None or text == "":
            continue
        items = [item.strip() for item in text.split(",") if item.strip()]
        if name == "presets":
            found[name] = dict(map(_assignment, items))
        else:
            found[name] = items if name in _LISTS else text
    return found


def _assignment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (sign and name.strip() and value.strip()):
        raise ConfigurationError(
            f"settings: YANGFAN_PRESETS must be preset=model,preset=model; {text!r} is no such pair"
        )
    return name.strip(), value.strip()
