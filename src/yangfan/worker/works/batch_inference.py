"""Ask a file of requests, one after another a few at a time, while the platform has time (specification C.5, D.12).

Spec: ``form`` (openai or qianfan), ``folder`` (of the batch), ``endpoint`` (path of the calls), ``at_once``, ``expires_ms`` (0: never); in Qianfan's form
also ``model``, ``parameters``, ``borrowed`` (the model version, where no service serves it: it runs for as long as it is asked) and, where requests come
from somebody else's store, ``input_uri``, ``output_uri`` and ``store``. In OpenAI's form the requests name a
model version themselves (``amv-…``, the same one in all requests that name one), and it is borrowed, too. Result: the counts, and ``expired`` or ``refused`` where it came to that.

Answers go to ``output.jsonl`` and what was refused to ``error.jsonl``, in the order of the requests. Each chunk is on the disk before the checkpoint that counts it,
and whatever stands behind the last checkpoint is cut off by the next attempt: one result a line, whoever is killed when. A lock of the kernel's
keeps a worker that has lost the job, and does not know it yet, away from its successor's files.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import (
    Conflict,
    EngineFailed,
    Invalid,
    Overloaded,
    RefusedError,
    SourceUnavailable,
    UnreachableError,
)
from yangfan.hub import access
from yangfan.hub.s3 import S3, split
from yangfan.protocol.v2 import errors as v2_errors
from yangfan.worker.lending import Patience, Wanted, borrowed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from yangfan.worker.task import Task

CHUNK_LINES = 200
CHUNK_SECONDS = 1.0
"""A checkpoint comes after so many results or so long, whichever is sooner."""

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_REQUESTS = 1_000_000
MAX_ID_CHARACTERS = 512
MAX_REFUSED = 100
"""Lines that are named where a file cannot be worked on."""

ATTEMPTS = 3
"""Times that a request is asked whose engine fails. One that finds no room is asked until the batch expires."""

LOCK_SECONDS = 60.0
NICENESS = 10
_PAUSE_SECONDS = 1.0
_VERSION = "amv-"
_FINISH = {"stop": "normal", "length": "length", "tool_calls": "function_call"}
_NAMES = {"max_output_tokens": "max_tokens"}


class _Spec(msgspec.Struct, kw_only=True):
    form: str
    folder: str
    endpoint: str
    at_once: int = 1
    expires_ms: int = 0
    model: str = ""
    parameters: dict[str, Any] = {}
    input_uri: str = ""
    output_uri: str = ""
    store: str = ""
    borrowed: Wanted | None = None


class _Line(msgspec.Struct):
    """A request in OpenAI's form."""

    custom_id: str
    url: str
    body: dict[str, Any]
    method: str = "POST"


class _Query(msgspec.Struct):
    """A request in Qianfan's form."""

    query: str | list[dict[str, Any]]
    id: str | int = ""


class _State(msgspec.Struct, kw_only=True):
    """Where the batch stands: the checkpoint."""

    total: int = 0
    done: int = 0
    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    output_bytes: int = 0
    error_bytes: int = 0
    expired: bool = False
    version: str = ""
    """The model version that requests name."""


class _Answer(msgspec.Struct):
    """What became of a request: a line of one of the files."""

    text: bytes
    good: bool
    prompt_tokens: int = 0
    completion_tokens: int = 0


def run(task: Task) -> dict[str, Any]:
    """Work on it.

    Raises:
        Invalid: The spec is not of this kind.
        FetchError: The requests cannot be fetched, or the results not be sent.
        Conflict: The model version cannot run here.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no batch: {error}") from error
    os.nice(NICENESS)
    folder = Path(spec.folder)
    with _alone(task, folder):
        source = folder / "input.jsonl"
        if spec.input_uri and not source.exists():
            task.progress(0, note="fetching the requests")
            asyncio.run(_fetch(spec, folder, source))
        state = msgspec.convert(task.state, _State)
        if not state.total:
            total, refused, state.version = _check(task, spec, source)
            if refused:
                return {"refused": refused, "total": total}
            state.total = total
            task.save(msgspec.to_builtins(state))
        with ExitStack() as stack:
            wanted = spec.borrowed or (Wanted(version=state.version) if state.version else None)
            name, lacking = "", None
            if wanted is not None and state.done < state.total:

                def tell(note: str) -> None:
                    task.progress(state.done, state.total, "requests", note)

                # Where every request needs the version, the batch has time until it expires.
                every = spec.borrowed is not None
                left_seconds = spec.expires_ms / 1000 - time.time() if every else 0.0
                try:
                    name = stack.enter_context(
                        borrowed(task, wanted, tell, room_seconds=left_seconds)
                    )
                except Conflict as error:
                    if every:
                        raise
                    lacking = error  # other requests may name other models
            _Batch(task, spec, folder, state, name, lacking).run(source)
        if spec.output_uri:
            asyncio.run(_send(spec, folder))
    return msgspec.to_builtins(state)


@contextmanager
def _alone(task: Task, folder: Path) -> Generator[None]:
    """Wait until the worker before, if there is one, is gone."""
    give_up = time.monotonic() + LOCK_SECONDS
    with (folder / "lock").open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise SourceUnavailable("another worker still has the batch") from None
                task.check()
                time.sleep(0.1)
            else:
                break
        yield


def _check(task: Task, spec: _Spec, source: Path) -> tuple[int, list[dict[str, Any]], str]:
    """How many requests there are, what is wrong with the file, and which model version the requests name."""
    refused: list[dict[str, Any]] = []
    seen: set[bytes] = set()
    version = ""
    total = 0
    for number, line in _lines(source):
        task.check()
        total += 1
        wrong, named = _wrong_with(spec, line)
        if named.startswith(_VERSION):
            version = version or named
            if named != version:
                wrong = (
                    "several_model_versions",
                    f"a batch asks one model version, {version}, and not {named[:64]}, too; send a batch for each",
                    "body.model",
                )
        if isinstance(wrong, str):
            mark = hashlib.blake2b(wrong.encode(), digest_size=16).digest()
            if mark in seen:
                wrong = (
                    "duplicate_custom_id",
                    f"custom_id {wrong[:64]!r} is there twice",
                    "custom_id",
                )
            else:
                seen.add(mark)
                continue
        code, message, param = wrong
        refused.append({"code": code, "message": message, "param": param, "line": number})
        if len(refused) >= MAX_REFUSED:
            break
        if total > MAX_REQUESTS:
            break
    if total > MAX_REQUESTS:
        refused = [
            {
                "code": "too_many_requests",
                "message": f"a batch has at most {MAX_REQUESTS} requests; send several",
            }
        ]
    if not total:
        refused = [{"code": "empty_file", "message": "the file has no requests; send JSON lines"}]
    return total, refused, version


_Wrong = tuple[str, str, str | None]


def _wrong_with(spec: _Spec, line: bytes) -> tuple[_Wrong | str, str]:
    """Code, text and field of what is wrong with a line, its id if nothing is; and the model that it names."""
    if len(line) > MAX_LINE_BYTES:
        return ("line_too_long", f"a line has at most {MAX_LINE_BYTES} bytes", None), ""
    qianfan = spec.form == "qianfan"
    try:
        found = msgspec.json.decode(line, type=_Query if qianfan else _Line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        shape = "{id, query}" if qianfan else "{custom_id, method, url, body}"
        text = f"each line is a JSON object {shape}: {error}"[:500]
        return ("invalid_json_line", text, None), ""
    if isinstance(found, _Line):
        return _wrong_request(spec, found) or found.custom_id, str(found.body.get("model"))
    # Ids need not be there or be unique in this form.
    mark = os.urandom(16).hex()
    return mark if found.query else ("invalid_request", "query is empty", "query"), ""


def _wrong_request(spec: _Spec, request: _Line) -> _Wrong | None:
    body = request.body
    wrong = (
        (
            request.method != "POST",
            ("invalid_method", f"method must be POST, got {request.method[:16]!r}", "method"),
        ),
        (
            _path(request.url) != spec.endpoint,
            (
                "mismatched_endpoint",
                f"url must be the batch's endpoint {spec.endpoint}, got {request.url[:64]!r}",
                "url",
            ),
        ),
        (
            not body.get("model"),
            ("missing_required_parameter", "body.model is missing", "body.model"),
        ),
        (
            bool(body.get("stream")),
            ("invalid_request", "body.stream must be false in a batch", "body.stream"),
        ),
        (
            not 1 <= len(request.custom_id) <= MAX_ID_CHARACTERS,
            (
                "invalid_custom_id",
                f"custom_id has 1 to {MAX_ID_CHARACTERS} characters",
                "custom_id",
            ),
        ),
    )
    return next((what for is_wrong, what in wrong if is_wrong), None)


def _path(url: str) -> str:
    return f"/v2/{url[4:]}" if url.startswith("/v1/") else url


def _lines(source: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that hold something, and their numbers from 1, in bounded memory."""
    with source.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 2):
            number += 1
            if line.strip():
                yield number, line
            if not line.endswith(b"\n") and len(line) > MAX_LINE_BYTES:
                return


class _Batch:
    """The asking; of `borrowed`, the name that stands for the model version, where there is one, or why there is none."""

    def __init__(
        self,
        task: Task,
        spec: _Spec,
        folder: Path,
        state: _State,
        borrowed: str = "",
        lacking: Conflict | None = None,
    ) -> None:
        self._task = task
        self._borrowed = borrowed
        self._lacking = lacking
        title = spec.borrowed.title if spec.borrowed is not None else state.version
        self._patience = Patience(title)
        self._spec = spec
        self._folder = folder
        self._state = state

    def run(self, source: Path) -> None:
        """Ask what has no answer yet."""
        state, task = self._state, self._task
        with ExitStack() as stack:
            output = stack.enter_context(_part(self._folder / "output.jsonl", state.output_bytes))
            error = stack.enter_context(_part(self._folder / "error.jsonl", state.error_bytes))
            threads = ThreadPoolExecutor(self._spec.at_once, thread_name_prefix="ask")
            # What is being asked when the work ends early is not waited for: nobody would take the answer.
            stack.callback(threads.shutdown, wait=False, cancel_futures=True)
            waiting: deque[Future[_Answer]] = deque()
            saved_at, unsaved = time.monotonic(), 0
            lines = iter(_lines(source))
            for _ in range(state.done):
                next(lines)
            task.progress(state.done, state.total, "requests")
            exhausted = False
            while waiting or not exhausted:
                while not exhausted and len(waiting) < 2 * self._spec.at_once:
                    found = next(lines, None)
                    if found is None:
                        exhausted = True
                    else:
                        waiting.append(threads.submit(self._answer, found[1]))
                if not waiting:
                    break
                answer = waiting.popleft().result()
                (output if answer.good else error).write(answer.text)
                self._count(answer)
                unsaved += 1
                if unsaved >= CHUNK_LINES or time.monotonic() - saved_at > CHUNK_SECONDS:
                    self._save(output, error)
                    saved_at, unsaved = time.monotonic(), 0
            self._save(output, error)

    def _count(self, answer: _Answer) -> None:
        state = self._state
        state.done += 1
        state.completed += answer.good
        state.failed += not answer.good
        state.prompt_tokens += answer.prompt_tokens
        state.completion_tokens += answer.completion_tokens
        if answer.good:
            state.output_bytes += len(answer.text)
        else:
            state.error_bytes += len(answer.text)

    def _save(self, *files: Any) -> None:
        for file in files:
            file.flush()
            os.fsync(file.fileno())
        self._task.save(msgspec.to_builtins(self._state))
        self._task.progress(self._state.done, self._state.total, "requests")

    def _answer(self, line: bytes) -> _Answer:
        """Ask one; whatever goes wrong with it is its answer."""
        qianfan = self._spec.form == "qianfan"
        request: Any = msgspec.json.decode(line, type=_Query if qianfan else _Line)
        body = self._body(request) if qianfan else request.body
        if self._over():
            self._state.expired = True
            expired = {
                "code": "batch_expired",
                "message": "This request could not be executed before the completion window expired.",
            }
            return self._refused(request, expired, None)
        try:
            reply = self._ask(body)
        except RefusedError as error:
            status, refusal = v2_errors.to_body(error, error.request_id or "")
            detail = msgspec.to_builtins(refusal.error)
            detail["message"] = error.message
            detail["code"] = str(error.code or detail["code"])
            return self._refused(request, detail, error.status or status)
        used: dict[str, Any] = reply.get("usage") or {}
        document = self._shown(request, reply)
        return _Answer(
            msgspec.json.encode(document) + b"\n",
            good=True,
            prompt_tokens=int(used.get("prompt_tokens") or 0),
            completion_tokens=int(used.get("completion_tokens") or 0),
        )

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        failures = 0
        lent = body["model"] in (self._spec.model, self._state.version) and bool(body["model"])
        if lent and self._lacking is not None:
            raise self._lacking
        patience = self._patience if lent and self._borrowed else None
        if patience is not None:
            body = {**body, "model": self._borrowed}
        while True:
            try:
                reply = self._task.ask(self._spec.endpoint, body)
            except RefusedError as error:
                if patience is not None and isinstance(error, (EngineFailed, Overloaded)):
                    self._lacking = self._lacking or patience.failed(error)
                    raise
                failures += error.status is None or error.status >= 500
                if not error.retryable or failures >= ATTEMPTS or self._over():
                    raise
                self._rest(error.retry_after_seconds or _PAUSE_SECONDS)
            except UnreachableError:
                # The server is away; the heart ends this worker if it stays so.
                self._rest(_PAUSE_SECONDS)
            else:
                if patience is not None:
                    patience.answered()
                return reply

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + min(seconds, 30.0)
        while time.monotonic() < end:
            self._task.check()
            time.sleep(0.1)

    def _over(self) -> bool:
        expires_ms = self._spec.expires_ms
        return bool(expires_ms) and time.time_ns() // 1_000_000 >= expires_ms

    def _body(self, query: _Query) -> dict[str, Any]:
        """A query as a conversation, with the parameters of the task under v2's names."""
        given = {
            name: value for name, value in self._spec.parameters.items() if name != "endpoint_url"
        }
        messages: list[dict[str, Any]] = []
        if system := given.pop("system", None):
            messages.append({"role": "system", "content": system})
        if isinstance(query.query, str):
            messages.append({"role": "user", "content": query.query})
        else:
            messages += query.query
        named = {_NAMES.get(name, name): value for name, value in given.items()}
        return {**named, "model": self._spec.model, "messages": messages}

    def _shown(self, request: Any, reply: dict[str, Any]) -> dict[str, Any]:
        if isinstance(request, _Query):
            return {"id": request.id, "query": request.query, "output": _v1(reply)}
        id = str(reply.get("id") or "")
        return {
            "id": f"batch_req_{os.urandom(12).hex()}",
            "custom_id": request.custom_id,
            "response": {"status_code": 200, "request_id": id, "body": reply},
            "error": None,
        }

    def _refused(self, request: Any, error: dict[str, Any], status: int | None) -> _Answer:
        """An error line: with the response if there was one, else with the reason why none was asked for."""
        if isinstance(request, _Query):
            document: dict[str, Any] = {
                "id": request.id,
                "query": request.query,
                "error": {"error_code": error["code"], "error_msg": error["message"]},
            }
        else:
            document = {
                "id": f"batch_req_{os.urandom(12).hex()}",
                "custom_id": request.custom_id,
                "response": None
                if status is None
                else {"status_code": status, "request_id": "", "body": {"error": error}},
                "error": error if status is None else None,
            }
        return _Answer(msgspec.json.encode(document) + b"\n", good=False)


def _v1(reply: dict[str, Any]) -> dict[str, Any]:
    """A whole v1 answer out of a v2 one."""
    choices: list[dict[str, Any]] = reply.get("choices") or []
    choice = choices[0] if choices else dict[str, Any]()
    message: dict[str, Any] = choice.get("message") or {}
    reason = str(choice.get("finish_reason") or "stop")
    used: dict[str, Any] = reply.get("usage") or {}
    return {
        "id": reply.get("id", ""),
        "object": "chat.completion",
        "created": reply.get("created", 0),
        "result": message.get("content") or "",
        "finish_reason": _FINISH.get(reason, reason),
        "is_truncated": reason == "length",
        "need_clear_history": False,
        "usage": {
            name: used.get(name, 0)
            for name in ("prompt_tokens", "completion_tokens", "total_tokens")
        },
    }


@contextmanager
def _part(path: Path, saved_bytes: int) -> Generator[Any]:
    """The file, cut to what was saved, to be written on.

    Raises:
        SourceUnavailable: It is shorter than that.
    """
    with path.open("ab") as file:
        if file.tell() < saved_bytes:
            raise SourceUnavailable(
                f"{path} was {saved_bytes} bytes long and is shorter; was its disk replaced?"
            )
        file.truncate(saved_bytes)
        yield file


# Other people's stores


async def _fetch(spec: _Spec, folder: Path, source: Path) -> None:
    """The lines of every .jsonl file of the folder, one after another."""
    given = access.load(Path(spec.store))
    s3 = S3(given.egress(), given.hubs.s3)
    bucket, prefix = split(_bare(spec.input_uri))
    found = [
        item
        for item in await s3.list(bucket, prefix)
        if item.key.endswith((".jsonl", ".json", ".txt")) and item.size_bytes
    ]
    if not found:
        raise SourceUnavailable(f"{spec.input_uri} has no .jsonl file")
    coming = folder / "input.coming"
    with coming.open("wb") as whole:
        for number, item in enumerate(sorted(found)):
            part = folder / f"input.{number}"
            part.unlink(missing_ok=True)
            await s3.get(bucket, item, part, lambda _count: None)
            content = part.read_bytes()
            whole.write(content if content.endswith(b"\n") else content + b"\n")
            part.unlink()
    coming.replace(source)


async def _send(spec: _Spec, folder: Path) -> None:
    """Results go where they were asked for; a second time writes the same."""
    given = access.load(Path(spec.store))
    s3 = S3(given.egress(), given.hubs.s3)
    bucket, prefix = split(_bare(spec.output_uri))
    for name in ("output", "error"):
        content = (folder / f"{name}.jsonl").read_bytes()
        if content:
            await s3.put(bucket, f"{prefix.rstrip('/')}/{name}.jsonl", content)


def _bare(uri: str) -> str:
    return uri.partition(":")[2].lstrip("/")
