"""Jobs on versions: what is inserted when one begins, and what becomes of it at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.server.models.conftest import Shop

from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.server.jobs import Job, JobError, Jobs, Leases
from yangfan.server.models import Page, Version
from yangfan.server.models.types import Facts
from yangfan.server.models.uploads import Uploads
from yangfan.server.models.work import Artifact, Caller, Work


@dataclass
class Yard:
    """A registry whose work is done by the test."""

    shop: Shop
    work: Work
    jobs: Jobs
    leases: Leases
    exports: Path

    async def claim(self) -> Job:
        """Be the worker that takes the next job."""
        (job,) = await self.leases.claim("here", 1)
        return job

    async def finish(self, job: Job, result: dict[str, Any]) -> Job:
        """Be the worker whose work is done."""
        await self.leases.finish(job.id, job.fence, result)
        return await self.jobs.get(job.id)

    def made(self, job: Job, content: dict[str, bytes], **facts: Any) -> dict[str, Any]:
        """Put files into the store as the work does; what it returns."""
        files = self.shop.keep(job.spec["name"], content)
        return {
            "files": [msgspec.structs.asdict(file) for file in files],
            "format": "gguf",
            "kind": "chat",
            "facts": {"architecture": "llama", "context_tokens": None, "dtype": "Q8_0", **facts},
            "source": "file:/models/x",
            "revision": "abc",
            "memory_bytes_estimate": 1000,
        }


@pytest.fixture
async def yard(shop: Shop, tmp_path: Path) -> Yard:
    """A registry with jobs that wait for the test."""
    jobs = Jobs(shop.database, backoff_seconds=0.0)
    uploads = Uploads(tmp_path / "uploads", max_bytes=1000)

    async def artifact_of(task_id: str, step: int | None) -> Artifact:
        if task_id != "task-1":
            raise NotFound(f"no task {task_id}")
        return Artifact(
            spec={"trained": "/runs/task-1/final"},
            parent_id="amv-base",
            origin={"jobId": "job-1", "step": step},
        )

    work = Work(shop.registry, jobs, uploads, tmp_path / "exports", artifact_of=artifact_of)
    await shop.registry.create_set("mine")
    return Yard(shop, work, jobs, Leases(shop.database, jobs), tmp_path / "exports")


async def begin(yard: Yard, source: str = "hf:a/b", **more: Any) -> Version:
    return await yard.work.import_version("mine", source, **more)


async def test_an_import_is_creating_until_its_job_ends_and_then_ready_with_all_facts(
    yard: Yard,
) -> None:
    version = await begin(yard, application="completion", revision="main", description="mine")
    assert (version.state, version.name, version.files) == ("Creating", "mine:1", ())
    job = await yard.claim()
    assert (job.id, job.kind, job.subject) == (version.job_id, "import_model", version.id)
    assert job.spec == {
        "store": str(yard.shop.files.root),
        "source": "hf:a/b",
        "kind": "chat",
        "revision": "main",
        "name": version.id,
    }
    result = yard.made(job, {"m.gguf": b"GGUF", "config.json": b"{}"}, licence="apache-2.0")
    assert (await yard.finish(job, result)).state == "succeeded"
    ready = await yard.shop.registry.version(version.id)
    assert (ready.state, ready.format, ready.application) == ("Ready", "gguf", "completion")
    assert [file.path for file in ready.files] == ["config.json", "m.gguf"]
    assert (ready.size_bytes, ready.memory_bytes, ready.revision) == (6, 1000, "abc")
    assert ready.facts == Facts(architecture="llama", licence="apache-2.0", quantization="Q8_0")
    assert ready.source == "hf:a/b"
    plan = await yard.shop.registry.plan(version.id)
    assert plan.engine == "llama_cpp"


async def test_files_that_the_work_left_as_blobs_alone_are_published(yard: Yard) -> None:
    version = await begin(yard)
    job = await yard.claim()
    result = yard.made(job, {"m.gguf": b"GGUF"})
    (yard.shop.files.root / "models" / version.id / "manifest.json").unlink()
    result["files"] = [
        [file["path"], file["sha256"], file["size_bytes"]] for file in result["files"]
    ]
    await yard.finish(job, result)
    assert (await yard.shop.registry.version(version.id)).state == "Ready"
    assert yard.shop.files.get(version.id) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"files": "none"},
        {"files": [["m.gguf", "0" * 64]]},
        {"format": 3},
        {"files": [{"path": "m.gguf", "sha256": "0" * 64, "size_bytes": 4}]},
        {"files": [{"path": "../m.gguf", "sha256": "0" * 64, "size_bytes": 4}]},
    ],
)
async def test_a_result_that_is_no_model_fails_the_job_and_the_version(
    yard: Yard, change: dict[str, Any]
) -> None:
    version = await begin(yard)
    job = await yard.claim()
    await yard.finish(job, {**yard.made(job, {"m.gguf": b"GGUF"}), **change})
    assert (await yard.jobs.get(job.id)).state == "failed"
    failed = await yard.shop.registry.version(version.id)
    assert failed.state == "Fail"
    assert failed.error


async def test_a_failed_import_says_why_and_leaves_nothing_behind(yard: Yard) -> None:
    version = await begin(yard)
    job = await yard.claim()
    yard.made(job, {"m.gguf": b"GGUF"})
    error = JobError("ConfigurationError", "no model in there")
    await yard.leases.fail(job.id, job.fence, error, retryable=False)
    failed = await yard.shop.registry.version(version.id)
    assert (failed.state, failed.error) == ("Fail", "no model in there")
    assert yard.shop.files.get(version.id) is None
    await yard.shop.registry.delete(version.id)


async def test_an_attempt_that_is_tried_again_keeps_the_version_creating(yard: Yard) -> None:
    version = await begin(yard)
    job = await yard.claim()
    await yard.leases.fail(job.id, job.fence, JobError("SourceUnavailable", "x"), retryable=True)
    assert (await yard.shop.registry.version(version.id)).state == "Creating"


async def test_a_cancelled_import_fails(yard: Yard) -> None:
    version = await begin(yard)
    await yard.jobs.cancel(version.job_id)
    failed = await yard.shop.registry.version(version.id)
    assert (failed.state, failed.error) == ("Fail", "it was cancelled")


async def test_a_repeated_call_with_one_key_makes_one_version(yard: Yard) -> None:
    caller = Caller("app-1", "once")
    first, second = await begin(yard, caller=caller), await begin(yard, caller=caller)
    assert first == second
    other = await begin(yard, caller=Caller("app-2", "once"))
    assert other.id != first.id
    with pytest.raises(Conflict, match="idempotency key 'once' stands for job"):
        await begin(yard, "hf:c/d", caller=caller)


@pytest.mark.parametrize(
    "source", ["mistral", "", ":x", "../x", "hf:", "a b:c", "ftp://a/b", "builtin:x", "file:/a\0b"]
)
async def test_what_is_no_address_is_refused(yard: Yard, source: str) -> None:
    with pytest.raises(Invalid, match="is no address of a model: give hf:OWNER/NAME"):
        await begin(yard, source)


async def test_a_path_of_the_server_becomes_an_address(yard: Yard) -> None:
    await begin(yard, "/models/x")
    assert (await yard.claim()).spec["source"] == "file:/models/x"


async def test_an_upload_is_imported_and_then_gone(yard: Yard) -> None:
    upload_id = await yard.work.uploads.create()
    version = await begin(yard, f"upload:{upload_id}")
    job = await yard.claim()
    assert job.spec["source"] == f"file:{yard.work.uploads.folder(upload_id)}"
    await yard.finish(job, yard.made(job, {"m.gguf": b"GGUF"}))
    assert (await yard.shop.registry.version(version.id)).state == "Ready"
    with pytest.raises(NotFound, match="there is no upload 'up-"):
        yard.work.uploads.files(upload_id)
    with pytest.raises(NotFound, match="there is no upload"):
        await begin(yard, f"upload:{upload_id}")


async def test_a_repeated_import_of_an_upload_finds_what_the_first_one_made(yard: Yard) -> None:
    source, caller = f"upload:{await yard.work.uploads.create()}", Caller("app", "once")
    version = await begin(yard, source, caller=caller)
    job = await yard.claim()
    await yard.finish(job, yard.made(job, {"m.gguf": b"GGUF"}))
    again = await begin(yard, source, caller=caller)
    assert (again.id, again.state) == (version.id, "Ready")


async def test_nothing_is_added_to_the_platforms_sets(yard: Yard) -> None:
    with pytest.raises(Conflict, match="echo belongs to the platform; add the version to a set of"):
        await yard.work.import_version("echo", "hf:a/b")
    with pytest.raises(Invalid, match="a description has at most 300 characters, got 301"):
        await begin(yard, description="x" * 301)


async def test_what_a_training_task_left_becomes_a_version_with_its_parity(yard: Yard) -> None:
    version = await yard.work.publish_trained("mine", "task-1", step=50, options={"format": "gguf"})
    assert (version.state, version.source_type, version.task_id) == ("Creating", "Train", "task-1")
    assert (version.parent_id, version.origin) == ("amv-base", {"jobId": "job-1", "step": 50})
    with pytest.raises(NotFound, match="no task task-2"):
        await yard.work.publish_trained("mine", "task-2")
    job = await yard.claim()
    assert (job.kind, job.spec["trained"]) == ("publish_model", "/runs/task-1/final")
    assert (job.spec["format"], job.spec["name"]) == ("gguf", version.id)
    parity = {"passed": False, "reason": "too far"}
    await yard.finish(job, {**yard.made(job, {"m.gguf": b"GGUF"}), "parity": parity})
    version = await yard.shop.registry.version(version.id)
    assert (version.state, version.facts.parity) == ("Ready", parity)
    assert await yard.shop.registry.store.made_by("task-1") == [version.id]


async def test_a_version_whose_parity_gate_failed_runs_only_by_force(yard: Yard) -> None:
    version = await yard.work.publish_trained("mine", "task-1")
    job = await yard.claim()
    parity = {"passed": False, "reason": "its log-probabilities are off by 3.2"}
    await yard.finish(job, {**yard.made(job, {"m.gguf": b"GGUF"}), "parity": parity})
    with pytest.raises(
        Conflict, match=r"is not what was trained: its log-prob.* Deploy it with force"
    ):
        await yard.shop.registry.plan(version.id)
    with pytest.raises(Conflict, match="is not what was trained"):
        await yard.shop.registry.plan(version.id, {"force": False})
    assert (await yard.shop.registry.plan(version.id, {"force": True})).spec.path is not None


async def test_without_trainings_every_task_is_unknown(shop: Shop, tmp_path: Path) -> None:
    work = Work(shop.registry, Jobs(shop.database), Uploads(tmp_path, max_bytes=1), tmp_path)
    await shop.registry.create_set("mine")
    with pytest.raises(NotFound, match="there is no training task 'task-1'; a version of"):
        await work.publish_trained("mine", "task-1")


async def ready(yard: Yard) -> Version:
    return await yard.shop.add("mine", {"m.gguf": b"GGUF"})


async def compress(yard: Yard, source: str, **more: Any) -> Any:
    wanted: dict[str, Any] = {"name": "smaller", "strategy": "Quantization", "weight": "W4A16C16"}
    wanted |= more
    return await yard.work.compress(source, "mine", **wanted)


async def test_a_compression_makes_a_new_version_and_tells_what_it_cost(yard: Yard) -> None:
    source = await ready(yard)
    task = await compress(yard, source.id, description="to the phone")
    version = await yard.shop.registry.version(task.version_id)
    assert (version.name, version.state, version.parent_id) == ("mine:2", "Creating", source.id)
    assert (version.source_type, version.task_id) == ("Acceleration", task.id)
    with pytest.raises(Conflict, match=f"mine:1 is in use: the task {task.id} .* reads it"):
        await yard.shop.registry.delete(source.id)
    job = await yard.claim()
    assert (job.kind, job.spec["weight"], job.spec["name"]) == (
        "compress_model",
        "W4A16C16",
        version.id,
    )
    assert job.spec["files"] == [msgspec.structs.asdict(file) for file in source.files]
    figures = {"size_before": 9, "size_after": 4, "perplexity_before": 1.5, "text": "t"}
    await yard.finish(job, {**yard.made(job, {"m.gguf": b"GGUFsmall"}), **figures})
    done = await yard.work.task("compress", task.id)
    assert done.state == "succeeded"
    assert done.finished_ms is not None
    assert {name: done.result[name] for name in figures} == figures
    assert (await yard.shop.registry.version(version.id)).state == "Ready"
    await yard.shop.registry.delete(source.id)


async def test_a_compression_is_cancelled_and_forgotten(yard: Yard) -> None:
    source = await ready(yard)
    task = await compress(yard, source.id)
    with pytest.raises(Conflict, match="is still at work; cancel it first"):
        await yard.work.remove("compress", task.id)
    assert (await yard.work.job_of(task)) is not None
    await yard.work.cancel("compress", task.id)
    stopped = await yard.work.task("compress", task.id)
    assert stopped.state == "stopped"
    assert await yard.work.job_of(stopped) is None
    assert (await yard.shop.registry.version(task.version_id)).state == "Fail"
    with pytest.raises(Conflict, match="has been stopped already"):
        await yard.work.cancel("compress", task.id)
    await yard.work.remove("compress", task.id)
    with pytest.raises(NotFound, match="there is no compression task 'amva-"):
        await yard.work.task("compress", task.id)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"strategy": "Sparsity"}, "'Sparsity' is not offered here: use the strategy Quantization"),
        ({"weight": "W2"}, "config.weight must be one of INT8-PTQ, W8A16C16, W4A16C16; got 'W2'"),
        ({"weight": None}, "config.weight must be one of"),
    ],
)
async def test_a_compression_that_is_not_offered_is_refused(
    yard: Yard, more: dict[str, Any], message: str
) -> None:
    source = await ready(yard)
    with pytest.raises(Invalid, match=message):
        await compress(yard, source.id, **more)


async def test_what_cannot_be_compressed_says_why(yard: Yard) -> None:
    with pytest.raises(Conflict, match="echo:1 cannot be compressed: it belongs to the platform"):
        await compress(yard, "echo:1")
    failed = await yard.shop.add("mine", state="Fail")
    with pytest.raises(Conflict, match="mine:1 cannot be compressed: it is Fail"):
        await compress(yard, failed.id)


async def test_compressions_page(yard: Yard) -> None:
    source = await ready(yard)
    ids = [(await compress(yard, source.id)).id for _ in range(3)]
    first, follows = await yard.work.compressions(source.id, Page(size=2))
    assert ([task.id for task in first], follows) == (ids[:2], ids[2])
    rest, end = await yard.work.compressions(None, Page(ids[2], 2))
    assert ([task.id for task in rest], end) == (ids[2:], None)
    assert (await yard.work.compressions("amv-other", Page()))[0] == []
    with pytest.raises(NotFound):
        await yard.work.compressions(None, Page("amva-none"))


async def test_an_export_goes_below_the_folder_of_exports(yard: Yard) -> None:
    source = await ready(yard)
    with pytest.raises(NotFound, match="mine:1 has no export; CreateModelExportTask begins one"):
        await yard.work.last_export("mine")
    task = await yard.work.export("mine")
    job = await yard.claim()
    target = str(yard.exports / f"{task.id}.zip")
    assert (job.kind, job.spec["form"], job.spec["target"]) == ("export_model", "zip", target)
    with pytest.raises(Conflict, match=r"the task amve-.* reads it"):
        await yard.shop.registry.delete(source.id)
    await yard.finish(job, {"location": target, "size_bytes": 4, "sha256": "0" * 64})
    done = await yard.work.last_export(source.id)
    assert (done.id, done.state, done.result["location"]) == (task.id, "succeeded", target)


async def test_a_failed_export_is_told_when_there_is_no_other(yard: Yard) -> None:
    await ready(yard)
    await yard.work.export("mine")
    job = await yard.claim()
    await yard.leases.fail(job.id, job.fence, JobError("X", "no space"), retryable=False)
    with pytest.raises(NotFound, match="mine:1 has no export; the last one failed: no space"):
        await yard.work.last_export("mine")


@pytest.mark.parametrize(
    ("form", "target"),
    [("zip", "../x.zip"), ("folder", "/etc"), ("zip", "a/../../b"), ("s3", "/x"), ("s3", "")],
)
async def test_an_export_to_somewhere_else_is_refused(yard: Yard, form: str, target: str) -> None:
    await ready(yard)
    with pytest.raises(Invalid, match="target"):
        await yard.work.export("mine", form=form, target=target)


async def test_what_cannot_be_exported_says_why(yard: Yard) -> None:
    with pytest.raises(Conflict, match="`yangfan pull echo` fetches its files"):
        await yard.work.export("echo")
    failed = await yard.shop.add("mine", state="Fail")
    with pytest.raises(Conflict, match="mine:1 is Fail; export it when it is Ready"):
        await yard.work.export(failed.id)


async def test_a_version_that_was_deleted_meanwhile_ends_quietly(yard: Yard) -> None:
    version = await begin(yard)
    job = await yard.claim()
    async with yard.shop.registry.store.write() as connection:
        await yard.shop.registry.store.remove_version(connection, version)
    assert (await yard.finish(job, yard.made(job, {"m.gguf": b"GGUF"}))).state == "succeeded"


async def test_an_adapter_knows_its_base_and_shows_its_facts(yard: Yard) -> None:
    base = await yard.shop.add("base")
    async with yard.shop.registry.store.write() as connection:
        facts = Facts(architecture="llama", context_tokens=128, chat_template="{{ y }}")
        await yard.shop.registry.store.change_version(
            connection, base.number, facts=facts, memory_bytes=500
        )
    version = await begin(yard, origin={"source": "hf:a/b", "baseModel": "base:1"})
    job = await yard.claim()
    assert job.spec["base"] == base.id
    result = yard.made(job, {"adapter.gguf": b"GGUF"}, architecture="", parameters=7)
    await yard.finish(job, {**result, "format": "adapter"})
    ready = await yard.shop.registry.version(version.id)
    assert (ready.state, ready.format, ready.parent_id) == ("Ready", "adapter", base.id)
    assert (ready.facts.architecture, ready.facts.context_tokens) == ("llama", 128)
    assert (ready.facts.chat_template, ready.facts.parameters) == ("{{ y }}", 7)
    assert ready.memory_bytes == 504
    with pytest.raises(Conflict, match="name a whole model that is Ready"):
        await begin(yard, origin={"source": "hf:a/b", "baseModel": version.id})


async def test_what_base_model_says_of_a_whole_model_is_a_remark(yard: Yard) -> None:
    await yard.shop.add("base")
    for name in ("base", "Llama-2-7b"):
        version = await begin(yard, origin={"source": "hf:a/b", "baseModel": name})
        job = await yard.claim()
        await yard.finish(job, yard.made(job, {"m.gguf": b"GGUF"}))
        assert (await yard.shop.registry.version(version.id)).parent_id == ""
