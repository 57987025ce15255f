"""Making evaluations, following the jobs that work on them, showing what came out."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import msgspec

from yangfan.datasets.formats import DataFormat
from yangfan.datasets.manifest import Manifest
from yangfan.errors import Conflict, Invalid, ModelNotFound, NotFound, UnknownExtension
from yangfan.protocol import templates
from yangfan.scorers import base
from yangfan.server.datasets import check_name
from yangfan.server.evaluation import people, store
from yangfan.server.evaluation.types import (
    FINAL,
    Candidate,
    Chosen,
    Evaluation,
    HumanScore,
    Order,
    Outcome,
    Unit,
)
from yangfan.server.http.call import new_id
from yangfan.server.jobs import Hooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.engines.base import Kind
    from yangfan.server.datasets import Datasets, DatasetVersion
    from yangfan.server.db import Database
    from yangfan.server.evaluation.types import State
    from yangfan.server.files import Files
    from yangfan.server.jobs import Job, JobError, Jobs
    from yangfan.server.models import Registry, Version
    from yangfan.server.prompts import Prompts

Work = Literal["chat", "embeddings"]
KIND = "evaluate"
PARAMETERS = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "penaltyScore": "penalty_score",
    "stop": "stop",
    "system": "system",
    "maxTokens": "max_tokens",
    "seed": "seed",
}
"""How a model answers, in the words of v2's console and in those of its chat calls; the last two are extensions."""

MOST_REFERENCE_CHARACTERS = 200
MOST_CANDIDATES = 5
"""Models of one evaluation (specification D.14)."""

MOST_DIMENSIONS = 4


class Names(NamedTuple):
    """What an order may name.

    Attributes:
        prompts: Prompt templates.
        registry: What models are.
        called: From the id of a model version, or a name, and what it is to do, to the name by which it is called. Raises ModelNotFound.
        lendable: From the id of a model version that no service serves, and options of an engine, to what it can be asked for on an
            engine of its own. Raises RefusedError where it can have none.
    """

    prompts: Prompts
    registry: Registry
    called: Callable[[str, Work], str]
    lendable: Callable[[str, Mapping[str, Any]], Awaitable[frozenset[Kind]]]

    async def model(
        self,
        reference: str,
        options: Mapping[str, Any],
        borrowed: dict[str, dict[str, Any]],
        wanted: Work = "chat",
    ) -> tuple[str, Version | None]:
        """The name under which work asks a model, and what it is in the registry; a version that no service serves is added to `borrowed`.

        Raises:
            ModelNotFound: There is no such model.
            Invalid: It cannot do what is wanted of it, or an option is not usable.
            Conflict: It is a version that cannot run here.
        """
        try:
            version = await self.registry.find(reference)
        except NotFound:
            version = None
        if not options.keys() - {"force"}:
            try:
                return self.called(reference, wanted), version
            except ModelNotFound:
                if version is None:
                    raise
            with suppress(ModelNotFound):
                return self.called(version.id, wanted), version
        elif version is None:
            raise Invalid(
                f"engineOptions are for versions of the registry, and {reference[:80]!r} is none",
                param="engineOptions",
            )
        kinds = await self.lendable(version.id, options)
        if wanted not in kinds:
            raise Invalid(
                f"{version.name} is a model for {', '.join(sorted(kinds))}, not for {wanted}",
                param="modelId",
            )
        name = version.id
        if options:
            text = msgspec.json.encode(dict(options), order="deterministic")
            name = f"{name}#{hashlib.blake2b(text, digest_size=4).hexdigest()}"
        borrowed[name] = {"version": version.id, "title": version.name, "options": dict(options)}
        return name, version


class Evaluations:
    """All evaluations.

    Args:
        database: Where they are kept.
        jobs: Who works on them.
        files: Where samples may come from.
        datasets: Where else.
        folder: Where answers are kept.
        at_once: Samples of one evaluation that are asked side by side.
        names: What an order may name.

    Attributes:
        exports: Folder of what was exported.
    """

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        files: Files,
        datasets: Datasets,
        folder: Path,
        *,
        at_once: int,
        names: Names,
    ) -> None:
        """Have the jobs' ends told here."""
        self._database = database
        self._jobs = jobs
        self._files = files
        self._datasets = datasets
        self._folder = folder
        self._at_once = at_once
        self._names = names
        self.exports = folder / "exports"
        jobs.register(KIND, _EvaluationHooks(datasets))

    async def create(self, app_id: str, order: Order) -> Evaluation:
        """Have models evaluated.

        Raises:
            Invalid: The order is not right.
            NotFound: There is no such dataset, file or prompt template.
            Conflict: The dataset version is not published, or a model version that no service serves cannot run here.
            ModelNotFound: There is no such model.
        """
        order = await self._checked(order)
        if order.result_dataset:
            await self._check_open(order.result_dataset)
        id = new_id("ame-", 16)
        folder = self._folder / id
        spec: dict[str, Any] = {
            "folder": str(folder),
            "candidates": msgspec.to_builtins(order.candidates),
            "scorers": msgspec.to_builtins(order.scorers),
            "pairwise": order.pairwise,
            "at_once": self._at_once,
            "borrowed": order.borrowed,
            "answers": await self._answers(order.candidates),
        }
        if order.results is not None:
            spec["results"] = id
        if order.results is not None or spec["answers"]:
            spec["blobs"] = str(self._datasets.blobs.root)
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True)
        try:
            if order.dataset.startswith("file-"):
                file = await self._files.get(order.dataset, app_id)
                samples = folder / "samples.jsonl"
                await asyncio.to_thread(_link, self._files.content(file.sha256), samples)
                spec["samples"] = str(samples)
            else:
                version = await self._datasets.version(order.dataset)
                if not spec["answers"]:  # those are taken as they are now, with their questions
                    require_published(version)
                spec["manifest"] = msgspec.to_builtins(version.manifest)
                spec["blobs"] = str(self._datasets.blobs.root)
            async with self._database.write() as connection:
                job = await self._jobs.submit(
                    KIND, spec, account=app_id, subject=id, max_attempts=5, connection=connection
                )
                made = Evaluation(
                    number=0,
                    id=id,
                    app_id=app_id,
                    job_id=job.id,
                    state="queued",
                    created_ms=time.time_ns() // 1_000_000,
                    order=order,
                )
                return await store.add(connection, made)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise

    async def get(self, reference: int | str, app_id: str) -> tuple[Evaluation, Job | None]:
        """An evaluation of an application's by its ``ame-…`` or integer, and its job.

        Raises:
            NotFound: It has none of that id.
        """
        text = str(reference)
        wanted = {"number": int(text[:18])} if text.isdigit() else {"id": text}
        async with self._database.read() as connection:
            found = await store.find(connection, app_id=app_id, **wanted)
        if found is None:
            raise NotFound(
                f"no evaluation {text[:64]!r}; `yangfan eval list` shows those there are"
            )
        return found, await self._job(found)

    async def page(
        self, app_id: str, after: str | None, count: int, *, newest_first: bool
    ) -> tuple[list[tuple[Evaluation, Job | None]], bool]:
        """Up to `count` of an application's behind the one of that id, and whether more follow.

        Raises:
            NotFound: It has none of that id.
        """
        number = None if after is None else (await self.get(after, app_id))[0].number
        async with self._database.read() as connection:
            found = await store.page(
                connection, app_id, number, count + 1, newest_first=newest_first
            )
        return [(each, await self._job(each)) for each in found[:count]], len(found) > count

    async def stop(self, reference: int | str, app_id: str) -> None:
        """End it.

        Raises:
            NotFound: The application has none of that id.
            Conflict: It has ended otherwise.
        """
        found, _ = await self.get(reference, app_id)
        if found.state == "manual":
            async with self._database.write() as connection:
                await store.save(connection, replace(found, state="stopped"))
            return
        if found.state in FINAL and found.state != "stopped":
            raise Conflict(f"evaluation {found.id} has ended already, so it cannot be stopped")
        if found.state not in FINAL:
            await self._jobs.cancel(found.job_id)

    async def delete(self, reference: int | str, app_id: str) -> None:
        """Forget it and its answers.

        Raises:
            NotFound: The application has none of that id.
            Conflict: It has not ended; stop it first.
        """
        found, _ = await self.get(reference, app_id)
        if found.state not in FINAL:
            raise Conflict(f"evaluation {found.id} is {found.state}; stop it before you delete it")
        async with self._database.write() as connection:
            await store.remove(connection, found.number)
        await asyncio.to_thread(shutil.rmtree, self._folder / found.id, ignore_errors=True)

    async def results(
        self, evaluation: Evaluation, offset: int = 0, count: int | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """Answers with their scores, people's among them, in order, and how many there are in all."""
        path = self._folder / evaluation.id / "results.jsonl"
        found, total = await asyncio.to_thread(_read, path, offset, count)
        if people.dimensions(evaluation):
            async with self._database.read() as connection:
                found = people.scored(
                    evaluation, found, await store.given(connection, evaluation.number)
                )
        return found, total

    async def report(
        self, evaluation: Evaluation
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Every candidate's figures, people's among them; and how far people are, None where nobody is asked."""
        asked = evaluation.order.candidates
        candidates: list[dict[str, Any]] = [
            {**each, "prompt": own.prompt} if own.prompt else each
            for each, own in zip(evaluation.outcome.candidates, asked, strict=False)
        ]
        if not people.dimensions(evaluation):
            return candidates, None
        results, _ = await self.results(evaluation)

        def merged() -> list[dict[str, Any]]:
            return [
                {
                    **each,
                    "figures": {
                        **each["figures"],
                        **people.figures_of(evaluation, place, results),
                    },
                }
                for place, each in enumerate(candidates)
            ]

        return await asyncio.to_thread(merged), people.progress(evaluation, results)

    async def score(self, reference: int | str, app_id: str, scores: Sequence[HumanScore]) -> None:
        """Keep what people say about answers.

        Raises:
            NotFound: The application has no such evaluation.
            Conflict: It does not wait for people.
            Invalid: A score belongs to nothing, or is out of range.
        """
        found, _ = await self.get(reference, app_id)
        path = self._folder / found.id / "results.jsonl"
        results, _ = await asyncio.to_thread(_read, path, 0, None)
        people.check(found, scores, {each["id"] for each in results})
        async with self._database.write() as connection:
            _require_people(await store.find(connection, number=found.number))
            await store.give(connection, found.number, scores, time.time_ns() // 1_000_000)

    async def finish(self, reference: int | str, app_id: str, impression: str = "") -> None:
        """People are through with it; what they have not scored stays without a grade.

        Args:
            reference: Which one.
            app_id: Whose.
            impression: What they say of it all, in words.

        Raises:
            NotFound: The application has no such evaluation.
            Conflict: It does not wait for people.
        """
        found, _ = await self.get(reference, app_id)
        async with self._database.write() as connection:
            now = _require_people(await store.find(connection, number=found.number))
            outcome = msgspec.structs.replace(now.outcome, impression=impression)
            answered = all(each["answered"] > 0 for each in outcome.candidates)
            state: State = "done" if answered else "partly"
            await store.save(connection, replace(now, state=state, outcome=outcome))

    async def _answers(self, candidates: Sequence[Candidate]) -> dict[str, Any]:
        """Where answers that are there already stand, by the candidates' places."""
        found: dict[str, Any] = {}
        for place, each in enumerate(candidates):
            if each.dataset and not each.dataset.startswith("file-"):
                version = await self._datasets.version(each.dataset)
                found[str(place)] = msgspec.to_builtins(version.manifest)
        return found

    async def _check_open(self, reference: str) -> None:
        version = await self._datasets.version(reference)
        if version.published or version.data_format is not DataFormat.PROMPT_RESPONSE:
            raise Conflict(
                f"results go into an open dataset version of {DataFormat.PROMPT_RESPONSE.value}; {version.reference} is none"
            )

    async def _job(self, evaluation: Evaluation) -> Job | None:
        if evaluation.state in FINAL:
            return None
        try:
            return await self._jobs.get(evaluation.job_id)
        except NotFound:
            return None

    async def _checked(self, order: Order) -> Order:
        if not 1 <= len(order.candidates) <= MOST_CANDIDATES:
            raise Invalid(
                f"an evaluation has 1 to {MOST_CANDIDATES} models, got {len(order.candidates)}",
                param="evalModelConfigList",
            )
        if len(order.dimensions) > MOST_DIMENSIONS:
            raise Invalid(f"people score at most {MOST_DIMENSIONS} dimensions", param="dimensions")
        people.check_dimensions(order.dimensions)
        if order.results:
            check_name(order.results)
        borrowed: dict[str, dict[str, Any]] = {}
        scorers = [*order.scorers]
        for place, chosen in enumerate(scorers):
            parameters = dict(chosen.parameters)
            if chosen.name in {"judge", "pairwise"}:
                judge = str(parameters.get("model") or DEFAULT_JUDGE)
                parameters["model"], _ = await self._names.model(judge, {}, borrowed)
            elif chosen.name == "embedding_similarity":
                embedder = str(parameters.get("model") or DEFAULT_EMBEDDER)
                parameters["model"], _ = await self._names.model(
                    embedder, {}, borrowed, "embeddings"
                )
            try:
                base.create(chosen.name, parameters, _Nobody())
            except UnknownExtension as error:
                raise Invalid(error.message, param="scorers") from None
            scorers[place] = msgspec.structs.replace(chosen, parameters=parameters)
        pairwise = order.pairwise
        if pairwise is not None:
            judge = str(pairwise.get("model") or DEFAULT_JUDGE)
            pairwise = {**pairwise, "model": (await self._names.model(judge, {}, borrowed))[0]}
            base.create("pairwise", pairwise, _Nobody())
        candidates = tuple([await self._candidate(each, borrowed) for each in order.candidates])
        return msgspec.structs.replace(
            order,
            candidates=candidates,
            scorers=tuple(scorers),
            pairwise=pairwise,
            borrowed=borrowed,
        )

    async def _candidate(self, given: Candidate, borrowed: dict[str, dict[str, Any]]) -> Candidate:
        """With the name by which its model is called, and the text of its prompt."""
        found = await self._prompted(given)
        if not given.model:
            return found
        model, version = await self._names.model(given.model, given.options, borrowed)
        if version is None:
            return msgspec.structs.replace(found, model=model)
        is_number = given.id.startswith("amv-") or given.id.isdecimal()
        return msgspec.structs.replace(
            found,
            model=model,
            name=found.name.replace(given.id, version.name, 1) if is_number else found.name,
            title=version.set_name,
            version=str(version.version),
            set_id=version.set_id,
        )

    async def _prompted(self, given: Candidate) -> Candidate:
        """With the text of the prompt template that it names."""
        reference = given.prompt
        if not reference and given.template and "{input}" not in given.template:
            reference = given.template
            if len(reference) > MOST_REFERENCE_CHARACTERS or "\n" in reference:
                raise Invalid(_NO_INPUT, param="promptTemplate")
        if not reference:
            return given
        try:
            found = await self._names.prompts.get(reference)
        except NotFound as error:
            if given.prompt:
                raise
            raise Invalid(f"{_NO_INPUT}: {error.message}", param="promptTemplate") from None
        content = found.version.content
        prompt = f"{found.name}@{found.version.number}"
        text, missing = templates.render(
            content.text,
            content.identifier,
            {**given.variables, "input": "{input}"},
            content.variables,
        )
        if missing:
            raise Invalid(
                f"prompt template {prompt} has the variables {', '.join(missing)}, too; give their values as variables",
                param="variables",
            )
        if "{input}" not in text or found.scene != 1:
            raise Invalid(
                f"prompt template {prompt} has no variable input, where the sample would go; give it one",
                param="promptTemplate",
            )
        habits: dict[str, Any] = msgspec.to_builtins(content.parameters) or {}
        parameters = {PARAMETERS[name]: habits[name] for name in PARAMETERS if name in habits}
        return msgspec.structs.replace(
            given,
            template=text,
            prompt=prompt,
            name=f"{given.name} {prompt}" if given.name == given.id else given.name,
            parameters={**parameters, **given.parameters},
        )


_NO_INPUT = "promptTemplate must contain {input}, or name a prompt template such as NAME@production"


def require_published(version: DatasetVersion) -> None:
    """Raise Conflict for a version whose rows may still change."""
    if not version.published:
        raise Conflict(
            f"dataset version {version.reference} is not published; publish it, so that nothing changes it while it is asked"
        )


_JUDGED = re.compile(r"\{\{(src|tgt|prediction|metric|steps|min_score|max_score)\}\}")

DEFAULT_EMBEDDER = "embedding-v1"
DEFAULT_JUDGE = "ernie-4.0-8k"
"""Who judges where nobody is named: what answers to Qianfan's own judge."""


class _Nobody:
    """Stands in for models while a scorer's arguments are checked."""

    def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float | None = None,
    ) -> str:
        """Never asked."""
        raise AssertionError(model, messages, schema, temperature)

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Never asked."""
        raise AssertionError(model, texts)


class _EvaluationHooks(Hooks):
    """What becomes of an evaluation when its job changes, in the same transaction."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets

    async def saved(self, connection: AsyncConnection, job: Job, state: dict[str, Any]) -> None:
        """It goes on."""
        del state
        found = await store.find(connection, job_id=job.id)
        if found is not None and found.state == "queued":
            await store.save(connection, replace(found, state="running"))

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """The figures are there."""
        found = await store.find(connection, job_id=job.id)
        if found is None:
            return
        outcome = msgspec.convert(result, Outcome)
        if outcome.manifest is not None:
            outcome = msgspec.structs.replace(
                outcome, manifest=None, result_dataset=await self._keep(connection, found, outcome)
            )
        await store.save(connection, replace(found, state=_end(found, outcome), outcome=outcome))

    async def _keep(
        self, connection: AsyncConnection, evaluation: Evaluation, outcome: Outcome
    ) -> str:
        """Make a dataset version of the answers; its id."""
        manifest = msgspec.convert(outcome.manifest, Manifest)
        lineage = {"kind": "evaluate", "evaluation": evaluation.id}
        order = evaluation.order
        if order.result_dataset:
            try:
                version = await self._datasets.publish_rows(
                    connection, order.result_dataset, manifest, lineage
                )
            except (NotFound, Conflict, Invalid):
                pass  # deleted, published or changed meanwhile: the answers go into one of their own
            else:
                return version.id
        own = f"{(order.results or order.name)[:60].replace(':', ' ').strip()} {evaluation.id}"
        name = order.results or own
        try:
            await self._datasets.group(name, connection)
        except NotFound:
            pass
        else:
            name = own  # somebody has taken the name
        version = await self._datasets.create(
            name,
            DataFormat.PROMPT_RESPONSE,
            evaluation.app_id,
            description=f"answers of evaluation {evaluation.id}",
            connection=connection,
        )
        await self._datasets.publish_rows(connection, version.id, manifest, lineage)
        return version.id

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """No attempt is left."""
        await self._over(connection, job, "failed", error.message)

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Somebody stopped it."""
        await self._over(connection, job, "stopped", "")

    async def _over(
        self, connection: AsyncConnection, job: Job, state: State, message: str
    ) -> None:
        found = await store.find(connection, job_id=job.id)
        if found is not None:
            outcome = msgspec.structs.replace(found.outcome, message=message)
            await store.save(connection, replace(found, state=state, outcome=outcome))


def units_of(evaluation: Evaluation, job: Job | None) -> list[Unit]:
    """How far each candidate is, in their order."""
    ended = evaluation.outcome.candidates
    if ended:
        return [
            Unit("Done" if each["answered"] else "Failed", each.get("message", ""))
            for each in ended
        ]
    count = len(evaluation.order.candidates)
    if job is None or job.final:
        return [Unit()] * count
    units = msgspec.convert(job.checkpoint.get("units", []), list[Unit])
    # What is being started, or what it waits for.
    note = job.progress.note
    shown = [Unit(each.state, note) if each.state == "Doing" else each for each in units]
    return [*shown, *[Unit("Pending")] * count][:count]


def _require_people(evaluation: Evaluation | None) -> Evaluation:
    if evaluation is None or evaluation.state != "manual":
        state = "gone" if evaluation is None else evaluation.state
        raise Conflict(
            f"the evaluation is {state}; people score one that is in RunningWithManualBegin (v1: DoingWithManualBegin)"
        )
    return evaluation


def _end(evaluation: Evaluation, outcome: Outcome) -> State:
    answered = [each["answered"] > 0 for each in outcome.candidates]
    if not any(answered):
        return "failed"
    if "manual" in evaluation.order.mode:
        return "manual"
    return "done" if all(answered) else "partly"


def _read(path: Path, offset: int, count: int | None) -> tuple[list[dict[str, Any]], int]:
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        end = None if count is None else offset + count
        found = [msgspec.json.decode(line) for line in islice(file, offset, end)]
        return found, offset + len(found) + sum(1 for _ in file)


def _link(source: Path, target: Path) -> None:
    """Have the content there for as long as the evaluation needs it, even if the file is deleted meanwhile."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def scorers_of(mode: str, rule: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[Chosen, ...]:
    """The scorers that Qianfan's modes mean."""
    found: list[Chosen] = []
    modes = {each.strip() for each in mode.split(",")}
    if not modes <= {"rule", "model", "manual", ""}:
        raise Invalid(
            f"evalMode is made of rule, model and manual, got {mode[:64]!r}", param="evalMode"
        )
    if "rule" in modes:
        wanted = rule.get("scoreModes") or ["similarity", "accuracy"]
        if "similarity" in wanted:
            found += [
                Chosen(name="rouge", label=f"rouge_{variant}", parameters={"variant": variant})
                for variant in ("1", "2", "l")
            ]
            found.append(Chosen(name="bleu_4", label="bleu4"))
        if "accuracy" in wanted:
            found += [
                Chosen(name="accuracy", label="accuracy"),
                Chosen(name="f1", label="f1Score"),
            ]
    if "model" in modes:
        prompt: Any = model.get("prompt") or {}
        if not isinstance(prompt, dict):
            raise Invalid("prompt of the judge must be an object", param="prompt")
        prompt = cast("dict[str, Any]", prompt)
        steps: Any = prompt.get("steps") or ""
        found.append(
            Chosen(
                name="judge",
                label="judge",
                parameters={
                    "model": str(model.get("apiName") or model.get("modelId") or ""),
                    "metric": str(prompt.get("metric") or ""),
                    "steps": _lines(steps),
                    "template": _judging(str(prompt.get("templateContent") or "")),
                    "min_score": _whole(prompt, "minScore", 0),
                    "max_score": _whole(prompt, "maxScore", 5),
                },
            )
        )
    return tuple(found)


def _judging(template: str) -> str:
    """A judge's prompt with single braces; Qianfan's own has double ones."""
    text = _JUDGED.sub(r"{\1}", template)
    if template and "{prediction}" not in text:
        raise Invalid(
            "templateContent of the judge must contain {prediction}, the answer to grade; {src} is the question and {tgt} the expected answer",
            param="templateContent",
        )
    return text


def _whole(prompt: Mapping[str, Any], name: str, default: int) -> int:
    value = prompt.get(name)
    try:
        return default if value in (None, "") else int(value)
    except (TypeError, ValueError, OverflowError):
        raise Invalid(
            f"{name} of the judge must be a whole number, got {str(value)[:40]!r}", param=name
        ) from None


def _lines(text: Any) -> str:
    return "\n".join(map(str, cast("list[Any]", text))) if isinstance(text, list) else str(text)
