"""An imitation of vLLM's OpenAI server (0.32): the same arguments, paths, fields and texts; its model says words of a list.

It is copied into a virtual environment as `vllm.entrypoints.openai.api_server`, so it imports nothing but the standard library. What it was
started with and asked lies in its working directory.
"""

import argparse
import importlib
import json
import os
import random
import re
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

WORDS = ["sea", "ship", "sail", "wind", "wave", "harbour", "island", "storm", "海", "帆", "😀"]
TOKEN = re.compile(r"\s*\S+")
STEP_SECONDS = 0.004
GUARDED = ("/v1", "/v2", "/inference", "/cohere")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--model")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--max-model-len", type=int, default=2048)
    parser.add_argument("--max-num-seqs", type=int)
    parser.add_argument("--tensor-parallel-size", type=int)
    parser.add_argument("--pipeline-parallel-size", type=int)
    parser.add_argument("--gpu-memory-utilization", type=float)
    parser.add_argument("--dtype")
    parser.add_argument("--quantization")
    parser.add_argument("--reasoning-parser")
    parser.add_argument("--tool-call-parser")
    parser.add_argument("--enable-auto-tool-choice", action="store_true")
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument("--middleware", action="append", default=[])
    parser.add_argument("--runner", choices=["generate", "pooling"])
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--max-lora-rank", type=int)
    parser.add_argument("--max-loras", type=int)
    parser.add_argument("--lora-modules", nargs="+", type=json.loads, default=[])
    return parser.parse_args()


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    options: argparse.Namespace
    running = 0

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self.send(200, b"", "text/plain")
        elif self.path == "/metrics":
            text = f'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{engine="0",model_name="m"}} {Handler.running}.0\n'
            self.send(200, text.encode(), "text/plain")
        elif self.path == "/v1/models" and self.has_key():
            models = [
                {"id": name, "max_model_len": self.options.max_model_len} for name in self.names()
            ]
            self.reply({"object": "list", "data": models})
        else:
            self.reply({"error": "Unauthorized"}, 401)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith(GUARDED) and not self.has_key():
            self.reply({"error": "Unauthorized"}, 401)
            return
        Path("asked.json").write_text(json.dumps(body))
        try:
            self.answer(body)
        except Refused as error:
            detail = {
                "message": str(error),
                "type": "BadRequestError",
                "param": None,
                "code": error.status,
            }
            self.reply({"error": detail}, error.status)

    def answer(self, body: dict[str, Any]) -> None:
        if body["model"] not in self.names():
            raise Refused(404, f"The model `{body['model']}` does not exist.")
        longest = self.options.max_model_len
        match self.path:
            case "/tokenize":
                tokens = TOKEN.findall(self.prompt_of(body))
                self.reply(
                    {
                        "count": len(tokens),
                        "max_model_len": longest,
                        "tokens": list(range(len(tokens))),
                    }
                )
            case "/detokenize":
                self.reply({"prompt": self.read(body["tokens"])})
            case "/v1/embeddings":
                texts: list[str | list[int]] = body["input"]
                assert len({type(text) for text in texts}) == 1, "texts or tokens, never both"
                lengths = [
                    len(text) if isinstance(text, list) else len(TOKEN.findall(text))
                    for text in texts
                ]
                data = [
                    {"index": index, "object": "embedding", "embedding": [1.0, float(count)]}
                    for index, count in enumerate(lengths)
                ]
                usage = {
                    "prompt_tokens": sum(lengths),
                    "total_tokens": sum(lengths),
                    "completion_tokens": 0,
                }
                self.reply({"data": data, "usage": usage})
            case "/v1/rerank":
                results = [
                    {
                        "index": index,
                        "document": {"text": text},
                        "relevance_score": float(body["query"] in text),
                    }
                    for index, text in enumerate(body["documents"])
                ]
                results.reverse()
                self.reply({"results": results, "usage": {"prompt_tokens": 9, "total_tokens": 9}})
            case "/v1/chat/completions" | "/v1/completions":
                self.generate(body)
            case _:
                raise Refused(404, "Not Found")

    def generate(self, body: dict[str, Any]) -> None:
        longest, prompt_tokens = (
            self.options.max_model_len,
            len(TOKEN.findall(self.prompt_of(body))),
        )
        if body["max_tokens"] > longest:
            raise Refused(
                400,
                f"max_tokens={body['max_tokens']} cannot be greater than max_model_len={longest}. Please request fewer output tokens.",
            )
        if prompt_tokens > longest:
            raise Refused(
                400,
                f"This model's maximum context length is {longest} tokens. However, your prompt contains {prompt_tokens} input tokens, which "
                "exceeds this limit even without any output tokens. Please reduce the length of the input prompt.",
            )
        if not 0 < body.get("top_p", 1) <= 1:
            raise Refused(400, "top_p must be in (0, 1], got 0.0.")
        assert body["stream"], "the engine asks for streams only"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        room = min(body["max_tokens"], longest - prompt_tokens)
        Handler.running += 1
        try:
            written = [
                self.write(body, index, room, prompt_tokens) for index in range(body.get("n", 1))
            ]
            usage = {
                "prompt_tokens": prompt_tokens,
                "total_tokens": prompt_tokens + sum(written),
                "completion_tokens": sum(written),
            }
            self.event({"choices": [], "usage": usage})
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            Handler.running -= 1

    def write(self, body: dict[str, Any], index: int, room: int, prompt_tokens: int) -> int:
        chat, picked = "messages" in body, random.Random(f"{body.get('seed', time.time())}{index}")
        tokens = [f" {picked.choice(WORDS)}" for _ in range(room)]
        if body.get("echo"):
            self.repeat(body, index, last=not room)
        if self.options.reasoning_parser and chat:
            tokens[0] = "hm"
        if chat and body.get("response_format", {}).get("type", "text") != "text":
            tokens = ['{"name": "f", ', '"arguments": {}}'][:room]
        told, count = "", 0
        stops: list[str] = body.get("stop") or []
        for count, token in enumerate(tokens, 1):
            time.sleep(STEP_SECONDS)
            told += token
            found = next((stop for stop in stops if stop in told), None)
            finish = (
                "stop"
                if found or (count == len(tokens) < room)
                else "length"
                if count == room
                else None
            )
            choice: dict[str, Any] = {"index": index, "finish_reason": finish, "stop_reason": found}
            text = token if found is None else ""
            if chat:
                field = "reasoning" if token == "hm" else "content"
                choice["delta"] = {field: text}
                if body.get("logprobs"):
                    top = [{"token": token, "logprob": -0.5, "bytes": None}] * body.get(
                        "top_logprobs", 0
                    )
                    choice["logprobs"] = {
                        "content": [{"token": token, "logprob": -0.5, "top_logprobs": top}]
                    }
            else:
                choice["text"] = text
                if body.get("logprobs") is not None:
                    likely = {token: -0.5} | {
                        f" w{rank}": -1.0 - rank for rank in range(body["logprobs"])
                    }
                    choice["logprobs"] = {
                        "text_offset": [0],
                        "token_logprobs": [-0.5],
                        "tokens": [token],
                        "top_logprobs": [likely],
                    }
            chunk: dict[str, Any] = {"choices": [choice]}
            if body["stream_options"].get("continuous_usage_stats"):
                chunk["usage"] = {
                    "prompt_tokens": prompt_tokens,
                    "total_tokens": prompt_tokens + count,
                    "completion_tokens": count,
                }
            self.event(chunk)
            if found:
                break
        return count

    def repeat(self, body: dict[str, Any], index: int, *, last: bool) -> None:
        """The prompt, with its log-probabilities; the real one sends it together with the first token."""
        prompt = self.prompt_of(body)
        tokens = TOKEN.findall(prompt)
        told = {
            "text_offset": [0] * len(tokens),
            "token_logprobs": [None, *[-0.5 for _ in tokens[1:]]],
            "tokens": tokens,
            "top_logprobs": [None, *[{token: -0.5} for token in tokens[1:]]],
        }
        choice = {
            "index": index,
            "text": prompt,
            "logprobs": told,
            "finish_reason": "length" if last else None,
        }
        self.event({"choices": [choice]})

    def prompt_of(self, body: dict[str, Any]) -> str:
        if "messages" not in body:
            prompt: str | list[int] = body["prompt"]
            return prompt if isinstance(prompt, str) else self.read(prompt)
        return (
            "".join(
                f"<{message['role']}> {message['content']} <end> " for message in body["messages"]
            )
            + "<assistant>"
        )

    def read(self, ids: list[int]) -> str:
        """The text of token ids; the real one may end at one that its model does not have."""
        return "".join(f" {WORDS[token]}" for token in ids)

    def names(self) -> list[str]:
        return [
            *self.options.served_model_name,
            *(module["name"] for module in self.options.lora_modules),
        ]

    def has_key(self) -> bool:
        return self.headers["Authorization"] == f"Bearer {os.environ['VLLM_API_KEY']}"

    def event(self, value: object) -> None:
        self.chunk(f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode())

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def reply(self, value: object, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode(), "application/json")

    def send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    options = arguments()
    for name in options.middleware:
        module, _, thing = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), thing))
    Path("started.json").write_text(
        json.dumps({"argv": sys.argv[1:], "environment": dict(os.environ), "pid": os.getpid()})
    )
    Handler.options = options
    # vLLM's workers are processes that the end of the server does not end.
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
