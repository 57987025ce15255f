"""The composition root: builds everything from settings and mounts it. The only file that knows every slice."""

from __future__ import annotations

import asyncio
import importlib.metadata
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from starlette.applications import Starlette

from yangfan.egress import Egress
from yangfan.errors import ModelNotFound
from yangfan.executors.local import LocalExecutor
from yangfan.hub.store import ModelStore
from yangfan.protocol import presets
from yangfan.server.access import Access, Credentials
from yangfan.server.access import v1 as access_v1
from yangfan.server.access import v2 as access_v2
from yangfan.server.access.secrets import Vault, load_or_create_master_key
from yangfan.server.access.store import KeyStore
from yangfan.server.batches import Batches
from yangfan.server.batches import v2 as batches_v2
from yangfan.server.charge import Charge, Units
from yangfan.server.charge import v2 as charge_v2
from yangfan.server.charge import v2_units as units_v2
from yangfan.server.charge.store import ChargeStore, UnitStore
from yangfan.server.chat import Chat
from yangfan.server.chat import v1 as chat_v1
from yangfan.server.chat import v2 as chat_v2
from yangfan.server.chat.pictures import Pictures
from yangfan.server.completions import Completions
from yangfan.server.completions import v1 as completions_v1
from yangfan.server.completions import v2 as completions_v2
from yangfan.server.datasets import (
    Collector,
    Datasets,
    Links,
    Publishing,
    Samples,
    transfers_v1,
    transfers_v2,
)
from yangfan.server.datasets import v1 as datasets_v1
from yangfan.server.datasets import v2 as datasets_v2
from yangfan.server.datasets.transfers import Transfers, Where
from yangfan.server.db import Database
from yangfan.server.deployments import Deployments, ModelPlanner, Placement
from yangfan.server.deployments import internal as lending
from yangfan.server.deployments import v1 as deployments_v1
from yangfan.server.deployments import v2 as deployments_v2
from yangfan.server.deployments.store import DeploymentStore
from yangfan.server.embeddings import Embeddings
from yangfan.server.embeddings import v1 as embeddings_v1
from yangfan.server.embeddings import v2 as embeddings_v2
from yangfan.server.evaluation import Evaluations, Names
from yangfan.server.evaluation import v1 as evaluation_v1
from yangfan.server.evaluation import v1_prompts as prompt_work_v1
from yangfan.server.evaluation import v2 as evaluation_v2
from yangfan.server.evaluation import v2_prompts as prompt_work_v2
from yangfan.server.evaluation.optimising import Optimisations
from yangfan.server.files import Files
from yangfan.server.files import v2 as files_v2
from yangfan.server.files.store import FileStore
from yangfan.server.health import Health
from yangfan.server.http import Gateway, Route
from yangfan.server.http.cors import ANY, HERE, Origins
from yangfan.server.image2text import v1 as image2text_v1
from yangfan.server.images import Images
from yangfan.server.images import v1 as images_v1
from yangfan.server.images import v2 as images_v2
from yangfan.server.images.shelf import Shelf
from yangfan.server.jobs import Dispatcher, Jobs, Leases, Retention
from yangfan.server.jobs import internal as jobs_internal
from yangfan.server.jobs import v2 as jobs_v2
from yangfan.server.jobs.tokens import JobMint
from yangfan.server.knowledge import Knowledge
from yangfan.server.knowledge import v2 as knowledge_v2
from yangfan.server.knowledge.store import KnowledgeStore
from yangfan.server.mcp import Tools
from yangfan.server.mcp import v2 as mcp_v2
from yangfan.server.memory import Memory
from yangfan.server.memory import v2 as memory_v2
from yangfan.server.memory.store import MemoryStore
from yangfan.server.metrics import Metrics
from yangfan.server.metrics.collector import registry_of
from yangfan.server.metrics.page import MetricsPage
from yangfan.server.metrics.request_log import RequestLog
from yangfan.server.metrics.work import WorkCollector
from yangfan.server.models import Models, Registry
from yangfan.server.models import v1 as models_v1
from yangfan.server.models import v2 as models_v2
from yangfan.server.models.presets import name_of
from yangfan.server.models.store import RegistryStore
from yangfan.server.models.uploads import Uploads
from yangfan.server.models.work import Work
from yangfan.server.plugins import Plugins, erniebot
from yangfan.server.plugins import v1 as plugins_v1
from yangfan.server.plugins import v2 as plugins_v2
from yangfan.server.plugins.bridge_store import BridgeStore
from yangfan.server.plugins.bridges import Bridges
from yangfan.server.plugins.catalogue import discovered
from yangfan.server.plugins.store import PluginStore
from yangfan.server.processing import Means, Places, Processing
from yangfan.server.processing import v1 as processing_v1
from yangfan.server.processing import v2 as processing_v2
from yangfan.server.processing.store import TaskStore
from yangfan.server.prompts import Prompts
from yangfan.server.prompts import v1 as prompts_v1
from yangfan.server.prompts import v2 as prompts_v2
from yangfan.server.prompts.presets import Presets
from yangfan.server.prompts.store import PromptStore
from yangfan.server.reference import Reference
from yangfan.server.rerank import Rerank
from yangfan.server.rerank import v1 as rerank_v1
from yangfan.server.rerank import v2 as rerank_v2
from yangfan.server.services import Service, Services
from yangfan.server.services import v2 as services_v2
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy
from yangfan.server.tokenizer import v1 as tokenizer_v1
from yangfan.server.tuning import Folders, TrainingData, Tuning
from yangfan.server.tuning import v1 as tuning_v1
from yangfan.server.tuning import v2 as tuning_v2
from yangfan.server.tuning.store import TuningStore
from yangfan.server.upstreams import Upstreams
from yangfan.server.upstreams import v2 as upstreams_v2
from yangfan.server.upstreams.store import UpstreamStore
from yangfan.server.usage import Usage
from yangfan.server.usage import v2 as usage_v2
from yangfan.server.usage.ledger import Ledger
from yangfan.server.usage.meter import GENEROUS_REQUESTS_PER_MINUTE
from yangfan.server.usage.spool import Spool
from yangfan.server.usage.store import UsageStore
from yangfan.server.usage.types import Defaults

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

    from prometheus_client import CollectorRegistry
    from starlette.routing import Route as Page

    from yangfan.hub.pull import Progress
    from yangfan.protocol.endpoint import Endpoint
    from yangfan.server.home import Home
    from yangfan.server.http import Observed
    from yangfan.server.settings import Settings


@dataclass(frozen=True, slots=True)
class Platform:
    """Everything that runs: the ASGI application, the built-in credentials, and what is served."""

    app: Gateway
    credentials: Credentials
    services: Services
    jobs: Jobs
    endpoints: tuple[Endpoint[Any, Any], ...]


@asynccontextmanager
async def build(
    settings: Settings,
    home: Home,
    *,
    progress: Callable[[Progress], None] | None = None,
    base_url: str = "",
) -> AsyncGenerator[Platform]:
    """Open the home folder's database, start the engines, mount the routes; undo it all at the end of the block.

    Args:
        settings: Everything that can be chosen.
        home: Where everything that lasts is kept.
        progress: Told about model downloads.
        base_url: Where this process listens or is about to; without it no jobs run, for their workers could not be reached.

    Raises:
        ConfigurationError: A setting, the home folder or an engine is not right.
        FetchError: A model is not here and could not be fetched.
        EngineFailed: An engine does not start.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings.database or home.database)
        stack.push_async_callback(database.close)
        await database.migrate(home.backups)
        vault = Vault(load_or_create_master_key(home.master_key))
        access, mint = _access(database, vault, settings)
        credentials = await access.load()
        jobs = Jobs(database)
        usage = Usage(
            Ledger(UsageStore(database, home.instance()), Spool(home.usage)),
            access.limits_of,
            _limits(settings),
        )
        stack.push_async_callback(usage.stop)
        await usage.start()
        egress = Egress(allow=settings.egress_allow, proxy=settings.egress_proxy)
        weights = ModelStore(settings.model_store_path)
        models = Models(weights, egress, settings)
        models.admit_workers()
        deployed = DeploymentStore(database)
        datasets = Datasets(database, home.datasets)
        registry, tuning = _models(settings, home, jobs, models, weights, deployed, datasets)
        work = await _registered(settings, home, registry, jobs, tuning)
        store = UpstreamStore(database, vault)
        served, expecting = dict[str, str](), bool(settings.upstreams) or bool(await store.all())
        services = await _services(settings, models, home, progress, served, expecting=expecting)
        stack.push_async_callback(services.stop)
        await services.start()
        upstreams = Upstreams(
            store,
            services,
            presets.load(),
            _policy(settings),
            allow=settings.egress_allow,
            proxy=settings.egress_proxy,
            workdir=home.engine,
        )
        stack.push_async_callback(upstreams.stop)
        await upstreams.start(settings.upstreams)
        deployments = Deployments(
            deployed,
            services,
            ModelPlanner(registry, models, served),
            _policy(settings),
            Placement(settings.services_memory_bytes),
            workdir=home.engine,
            limit=usage.lanes.limit_service,
            jobs=jobs,
        )
        stack.push_async_callback(deployments.stop)
        await deployments.start()
        memory = Memory(MemoryStore(database))
        chat = Chat(
            services,
            memory,
            Pictures(egress, max_total_bytes=settings.max_body_bytes),
            lenient=settings.lenient,
        )
        knowledge = await _knowledge(database, services, jobs, home, egress)
        plugins = _plugins(settings, database, vault, knowledge, chat, egress, stack)
        datasets.users.append(
            lambda connection, version: tuning.user_of_part(version.id, connection)
        )
        about_datasets, links = await _about_datasets(settings, datasets, jobs, vault, stack)
        images, shelf = Images(services, egress), Shelf(home.pictures)
        files, names = (
            Files(FileStore(database), home.files, quota_bytes=settings.files_quota_bytes),
            Names(
                _prompts(database), registry, _called(services, deployments), deployments.lendable
            ),
        )
        transfers = _transfers(settings, home, datasets, jobs, work, files)
        listed = [
            *images_v1.routes(images),
            *images_v2.routes(images, shelf),
            *_inference_routes(services, chat),
            *services_v2.routes(services),
            *upstreams_v2.routes(upstreams),
            *deployments_v1.routes(deployments, services, access),
            *deployments_v2.routes(deployments, services, access, usage),
            *access_v1.routes(access),
            *access_v2.routes(access),
            *prompts_v1.routes(names.prompts),
            *prompts_v2.routes(names.prompts),
            *await _file_routes(
                files,
                datasets,
                home,
                settings,
                stack,
                jobs,
                names,
                _embedding(services),
            ),
            *transfers_v1.routes(transfers),
            *transfers_v2.routes(transfers),
            *knowledge_v2.routes(knowledge),
            *plugins_v1.routes(plugins),
            *erniebot.routes(plugins),
            *plugins_v2.routes(plugins),
            *mcp_v2.routes(Tools(knowledge, plugins, services)),
            *about_datasets,
            *usage_v2.routes(usage),
            *jobs_v2.routes(jobs),
            *memory_v2.routes(memory),
            *models_v1.routes(registry, work),
            *models_v2.routes(registry, work),
            *tuning_v1.routes(tuning),
            *tuning_v2.routes(tuning),
            *await _charge_routes(settings, database, usage, services, stack),
            *_processing_routes(settings, database, home, jobs, services, datasets),
        ]
        metrics = await _watching(settings, home, stack)
        pages = [
            *Health(services, database.check, deployments.unready).routes,
            *shelf.routes,
            *links.routes,
            *transfers.routes,
        ]
        if settings.metrics != "off":
            counters = registry_of(metrics, services, usage, upstreams)
            pages += _metrics_page(settings, counters, WorkCollector(jobs, deployments)).routes
        for_workers = await _working(settings, home, stack, jobs, database, mint, base_url)
        for_workers += [*knowledge_v2.worker_routes(knowledge), *lending.routes(deployments, mint)]
        gateway = _mount(settings, access, usage, listed, metrics, pages, for_workers)
        yield Platform(gateway, credentials, services, jobs, _endpoints(listed))


def _access(database: Database, vault: Vault, settings: Settings) -> tuple[Access, JobMint]:
    """Who may call, workers among them, and what gives workers their tokens."""
    mint = JobMint(vault.job_key)
    access = Access(
        KeyStore(database),
        vault,
        required=settings.auth,
        worker_account=lambda token: mint.read(token)[2:],
    )
    return access, mint


def _models(
    settings: Settings,
    home: Home,
    jobs: Jobs,
    models: Models,
    files: ModelStore,
    deployed: DeploymentStore,
    datasets: Datasets,
) -> tuple[Registry, Tuning]:
    """The registry and the tuning of what is in it; a version that a service, a run or somebody who borrowed it needs stays."""
    tuned = TuningStore(datasets.database)

    async def user_of(version_id: str) -> str | None:
        return await deployed.user_of(version_id) or await tuned.user_of(version_id)

    registry = Registry(RegistryStore(datasets.database), files, models, users_of=user_of)

    async def data_of(reference: str) -> TrainingData:
        found = await datasets.version(reference)
        return TrainingData(
            id=found.id,
            name=found.reference,
            data_format=found.data_format.value,
            is_published=found.published,
            rows=found.rows,
            manifest=msgspec.to_builtins(found.manifest),
        )

    folders = Folders(home.tuning, home.datasets)
    return registry, Tuning(
        tuned,
        jobs,
        registry,
        folders,
        data_of=data_of,
        presets=settings.presets,
        processes=settings.tuning_processes,
        machines=1 + len(settings.tuning_nodes),
    )


def _metrics_page(
    settings: Settings, counters: CollectorRegistry, work: WorkCollector
) -> MetricsPage:
    counters.register(work)
    return MetricsPage(counters, public=settings.metrics == "public", look=work.look)


async def _registered(
    settings: Settings, home: Home, registry: Registry, jobs: Jobs, tuning: Tuning
) -> Work:
    """The registry knows the catalogue, and what takes long there is a job."""
    await registry.start()
    uploads = Uploads(home.uploads, max_bytes=settings.max_upload_bytes)
    await uploads.start()
    return Work(registry, jobs, uploads, home.exports, artifact_of=tuning.artifact)


async def _working(
    settings: Settings,
    home: Home,
    stack: AsyncExitStack,
    jobs: Jobs,
    database: Database,
    mint: JobMint,
    base_url: str,
) -> list[Route]:
    """The programs that work on jobs, and what answers them; every slice has registered its kinds of work by now."""
    leases = Leases(database, jobs, lease_seconds=settings.job_lease_seconds)
    if base_url and settings.jobs_at_once:
        dispatcher = Dispatcher(
            jobs,
            leases,
            LocalExecutor(home.jobs),
            mint,
            base_url=base_url,
            owner=home.instance(),
            at_once=settings.jobs_at_once,
        )
        stack.push_async_callback(dispatcher.stop)
        await dispatcher.start()
    retention = Retention(jobs, settings.jobs_keep_days)
    stack.push_async_callback(retention.stop)
    await retention.start()
    return jobs_internal.routes(leases, mint)


async def _watching(settings: Settings, home: Home, stack: AsyncExitStack) -> Metrics:
    """The counters, and whoever else is told of each call."""
    told: list[Callable[[Observed], None]] = []
    if settings.request_log:
        request_log = RequestLog(home.request_log)
        await request_log.start()
        stack.push_async_callback(request_log.stop)
        told.append(request_log)
    if settings.otlp_endpoint is not None:
        from yangfan.server.metrics.tracing import Tracer

        tracer = Tracer(settings.otlp_endpoint)
        stack.push_async_callback(asyncio.to_thread, tracer.stop)
        told.append(tracer)
    metrics = Metrics(told, traces=settings.otlp_endpoint is not None)
    stack.push_async_callback(metrics.stop)
    await metrics.start()
    return metrics


def _inference_routes(services: Services, chat: Chat) -> list[Route]:
    completions, rerank = Completions(services), Rerank(services)
    embeddings = Embeddings(services, chat.pictures)
    return [
        *chat_v1.routes(chat),
        *chat_v2.routes(chat),
        *image2text_v1.routes(chat),
        *completions_v1.routes(completions),
        *completions_v2.routes(completions),
        *embeddings_v1.routes(embeddings),
        *embeddings_v2.routes(embeddings),
        *rerank_v1.routes(rerank),
        *rerank_v2.routes(rerank),
        *tokenizer_v1.routes(services),
    ]


def _transfers(
    settings: Settings, home: Home, datasets: Datasets, jobs: Jobs, work: Work, files: Files
) -> Transfers:
    """What moves files into datasets and out of them."""

    async def file_of(file_id: str, app_id: str) -> tuple[str, Path]:
        file = await files.get(file_id, app_id)
        return file.name, files.content(file.sha256)

    where = Where(
        settings.model_store_path,
        home.dataset_files,
        settings.data_import_folders,
        work.uploads.folder,
        file_of,
    )
    return Transfers(datasets, jobs, where)


async def _file_routes(
    files: Files,
    datasets: Datasets,
    home: Home,
    settings: Settings,
    stack: AsyncExitStack,
    jobs: Jobs,
    names: Names,
    embed: Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]],
) -> list[Route]:
    """Files, and the batches that work on them."""
    await files.tidy()
    batches = Batches(
        datasets.database,
        jobs,
        files,
        home.batches,
        secrets=settings.model_store_path,
        at_once=settings.batch_at_once,
        named=names.model,
    )
    stack.push_async_callback(batches.stop)
    await batches.start()
    evaluations = Evaluations(
        datasets.database,
        jobs,
        files,
        datasets,
        home.evaluations,
        at_once=settings.batch_at_once,
        names=names,
    )
    optimisations = Optimisations(jobs, files, datasets, names, at_once=settings.batch_at_once)
    return [
        *files_v2.routes(files),
        *batches_v2.routes(batches),
        *evaluation_v1.routes(evaluations),
        *evaluation_v2.routes(evaluations),
        *prompt_work_v1.routes(optimisations, embed),
        *prompt_work_v2.routes(optimisations),
    ]


async def _charge_routes(
    settings: Settings,
    database: Database,
    usage: Usage,
    services: Services,
    stack: AsyncExitStack,
) -> list[Route]:
    """Capacity that was bought for models, in tokens a minute and in compute units."""
    charge = Charge(ChargeStore(database), usage.lanes.limit_model)
    stack.push_async_callback(charge.stop)
    await charge.start()
    units = Units(UnitStore(database), usage.lanes.multiply_model)
    stack.push_async_callback(units.stop)
    await units.start()
    model_rpm = settings.model_rpm or GENEROUS_REQUESTS_PER_MINUTE
    return [
        *charge_v2.routes(
            charge,
            lambda name: _served(services, name),
            lambda model: model_rpm * units.times(model),
        ),
        *units_v2.routes(units, charge, lambda name: _served(services, name)),
    ]


async def _knowledge(
    database: Database, services: Services, jobs: Jobs, home: Home, egress: Egress
) -> Knowledge:
    knowledge = Knowledge(KnowledgeStore(database), services, jobs, home.knowledge, egress)
    await knowledge.start()
    return knowledge


def _plugins(
    settings: Settings,
    database: Database,
    vault: Vault,
    knowledge: Knowledge,
    chat: Chat,
    egress: Egress,
    stack: AsyncExitStack,
) -> Plugins:
    """Applications, what is installed, and bridges to what is not."""
    catalogue = discovered(settings.plugin_settings)
    stack.push_async_callback(catalogue.aclose)
    reserved = [plugin.manifest.id for plugin in catalogue.all]
    bridges = Bridges(BridgeStore(database, vault), egress, settings.mcp_programs, reserved)
    return Plugins(PluginStore(database), knowledge, chat, catalogue, bridges, egress)


async def _about_datasets(
    settings: Settings, datasets: Datasets, jobs: Jobs, vault: Vault, stack: AsyncExitStack
) -> tuple[list[Route], Links]:
    """What answers calls about datasets, the addresses of samples, and what removes content that nobody uses."""
    collector = Collector(datasets, jobs)
    stack.push_async_callback(collector.stop)
    await collector.start()
    samples = Samples(datasets)
    publishing = Publishing(datasets, jobs, settings.deduplication_memory_bytes)
    links = Links(datasets, samples, vault.link_key)
    routes = [
        *datasets_v1.routes(datasets, samples, publishing, jobs, links),
        *datasets_v2.routes(datasets, samples, publishing, links),
    ]
    return routes, links


def _processing_routes(
    settings: Settings,
    database: Database,
    home: Home,
    jobs: Jobs,
    services: Services,
    datasets: Datasets,
) -> list[Route]:
    processing = Processing(
        database,
        TaskStore(database),
        jobs,
        datasets,
        Places(home.processing, home.operators),
        Means(settings.deduplication_memory_bytes, settings.ray_address or ""),
        lambda name: _served(services, name),
    )
    return [*processing_v1.routes(processing), *processing_v2.routes(processing)]


def _prompts(database: Database) -> Prompts:
    known = Presets()
    return Prompts(PromptStore(database, known.labels), known)


def _endpoints(listed: Sequence[Route]) -> tuple[Endpoint[Any, Any], ...]:
    return tuple(route.endpoint for route in listed)


def _mount(
    settings: Settings,
    access: Access,
    usage: Usage,
    listed: Sequence[Route],
    metrics: Metrics,
    pages: Sequence[Page],
    internal: Sequence[Route],
) -> Gateway:
    reference = Reference(_endpoints(listed), importlib.metadata.version("yangfan"))
    page_routes = [*reference.routes, *pages]
    origins = settings.cors_origins
    if origins is None:
        origins = (ANY,) if settings.auth else (HERE,)
    return Gateway(
        [*listed, *internal],
        authenticate=access.authenticate,
        max_body_bytes=settings.max_body_bytes,
        meter=usage.meter,
        observer=metrics,
        origins=Origins(origins, keys=settings.auth),
        pages=Starlette(routes=page_routes),
        page_paths=[route.path.partition("{")[0] for route in page_routes],
    )


async def _services(
    settings: Settings,
    models: Models,
    home: Home,
    progress: Callable[[Progress], None] | None,
    served: dict[str, str],
    *,
    expecting: bool,
) -> Services:
    """What the settings serve; `served` learns which name stands for what they say."""
    policy = _policy(settings)
    created, services = int(time.time()), list[Service]()
    for reference in settings.models:
        plan = await models.plan(reference, progress)
        served[plan.name.casefold()] = reference
        engine = await asyncio.to_thread(models.engine, plan, home.engine(plan.name))
        services.append(
            Service(plan.name, Replica(engine), policy, created=created, limits=plan.limits)
        )
    return Services(services, presets.load(), settings.presets, expecting=expecting)


def _policy(settings: Settings) -> ServicePolicy:
    return ServicePolicy(
        settings.first_byte_timeout_seconds,
        settings.max_waiting,
        settings.max_waiting_per_key,
        settings.max_wait_seconds,
    )


def _embedding(
    services: Services,
) -> Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]:
    """Asks the platform's own model for embeddings. What it makes raises RefusedError."""

    async def embed(texts: Sequence[str]) -> Sequence[Sequence[float]]:
        reply = await services.resolve("embedding-v1", "embeddings").service.embed(texts)
        return reply.vectors

    return embed


def _called(
    services: Services, deployments: Deployments
) -> Callable[[str, Literal["chat", "embeddings"]], str]:
    """From a name, or the id of a model version, to a name that such a call may give. What it makes raises ModelNotFound."""

    def called(reference: str, wanted: Literal["chat", "embeddings"]) -> str:
        name = deployments.serving(reference) or name_of(reference) or reference
        services.resolve(name, wanted)
        return name

    return called


def _served(services: Services, name: str) -> str:
    """The served model that a name means, whatever it is called for. Raises ModelNotFound."""
    for wanted in ("embeddings", "reranker", "text2image"):
        with suppress(ModelNotFound):
            return services.resolve(name, wanted).model
    return services.resolve(name).model


def _limits(settings: Settings) -> Defaults:
    return Defaults(
        rpm=settings.rpm,
        tpm=settings.tpm,
        model_rpm=settings.model_rpm,
        model_tpm=settings.model_tpm,
        app_qps=settings.app_qps,
    )
