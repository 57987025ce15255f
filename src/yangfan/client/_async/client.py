"""`AsyncClient`: the way in."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from yangfan.client._async.apps import AsyncApps
from yangfan.client._async.chat import AsyncChat
from yangfan.client._async.completions import AsyncCompletions
from yangfan.client._async.embeddings import AsyncEmbeddings
from yangfan.client._async.files import AsyncFiles
from yangfan.client._async.image2text import AsyncImage2Text
from yangfan.client._async.images import AsyncImages
from yangfan.client._async.jobs import AsyncJobs
from yangfan.client._async.keys import AsyncKeys
from yangfan.client._async.rerank import AsyncRerank
from yangfan.client._async.session import AsyncSession
from yangfan.client._async.tokenizer import AsyncTokenizer
from yangfan.client._async.tokens import AsyncTokens
from yangfan.client._async.usage import AsyncUsage
from yangfan.client.settings import Given, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from yangfan.client._async.batches import AsyncBatches
    from yangfan.client._async.charge import AsyncCharge
    from yangfan.client._async.datasets import AsyncDatasets
    from yangfan.client._async.evaluations import AsyncEvaluations
    from yangfan.client._async.knowledge import AsyncKnowledge
    from yangfan.client._async.memory import AsyncMemory
    from yangfan.client._async.models import AsyncModels
    from yangfan.client._async.plugins import AsyncPlugins
    from yangfan.client._async.processing import AsyncAugmentation, AsyncCleaning
    from yangfan.client._async.prompts import AsyncPrompts
    from yangfan.client._async.services import AsyncServices
    from yangfan.client._async.tuning import AsyncTuning
    from yangfan.client._async.upstreams import AsyncUpstreams
    from yangfan.client.settings import Version


class AsyncClient:
    """Talks to a Yangfan server, or to Baidu's cloud in v2.

    What is not passed comes from `YANGFAN_*` variables, then from the `QIANFAN_*` variables of the official SDK. Credentials
    of the first of these three that has any are used; the others' are not looked at.

    Args:
        base_url: Address of the server. Default ``http://127.0.0.1:8000``.
        api_key: An application's key for OAuth, with `secret_key`.
        secret_key: Its secret.
        access_token: A ready-made OAuth token instead of that pair.
        access_key: An access key id for bce-auth-v1 signatures, with `secret_access_key`. v2 inference uses it to fetch bearer
            tokens; `keys` needs it.
        secret_access_key: Its secret.
        bearer: A bearer key for v2, such as ``bce-v3/ALTAK-…``.
        version: Dialect of inference calls, 1 or 2. Default 2, but 1 when an OAuth pair or token is all there is.
        app_id: Application to call as, sent as the `appid` header in v2.
        timeout_seconds: Longest silence of the server, above 0 and at most 86400. Default 300. A connection must come within 5.
        max_retries: How often to repeat a call after a passing failure, 0 to 100. Default 2.
        proxy: Address of an HTTP proxy; by default HTTPS_PROXY or HTTP_PROXY, which never apply to this machine itself.
        verify_tls: Check certificates. Default true.
        headers: Sent with every call.

    Raises:
        ConfigurationError: An argument or a variable is not usable.

    Attributes:
        chat: Call it to talk with a model.
        image2text: Call it to ask about a picture.
        completions: Call it to let a model go on from a text.
        tokenizer: How many tokens a text has.
        embeddings: Call it to turn texts into vectors.
        images: Draw pictures.
        rerank: Call it to sort documents by how well they answer a query.
        models: Which names there are.
        tuning: Train models on datasets, and publish what comes out.
        keys: Make, list and revoke the platform's keys.
        apps: Applications, which keys belong to.
        tokens: Short-lived tokens for other programs.
        jobs: Long tasks: look, follow, stop, go on.
        upstreams: Other people's servers that the platform asks.
        usage: Requests and tokens by day, key and model.
        charge: Capacity of models, in tokens a minute and in compute units.
        memory: What models are told before every conversation.
        batches: Files of requests that are worked on when there is time.
        evaluations: Evaluating models on datasets.
        files: Files to work on, such as the requests of a batch.
        plugins: Plugin applications, which answer from knowledge bases and about the weather.
        knowledge: Knowledge bases: documents in, the passages that answer a question out.
        datasets: Datasets in versions, their samples, and what they look like.
        prompts: Prompt templates in versions, and labels that say which one is used.
        cleaning: Versions of datasets made clean, with a reason for each row that goes.
        augmentation: Samples that a model makes out of those of a dataset.
        services: Names in front of deployed model versions.
    """

    def __init__(  # noqa: PLR0913 - the client's settings, one argument each
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        secret_key: str | None = None,
        access_token: str | None = None,
        access_key: str | None = None,
        secret_access_key: str | None = None,
        bearer: str | None = None,
        version: Version | None = None,
        app_id: str | None = None,
        timeout_seconds: float | None = None,
        max_retries: int | None = None,
        proxy: str | None = None,
        verify_tls: bool | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Complete and check the settings; connect to nothing yet."""
        # The HTTP library takes as long to import as everything else together; whoever only names the class need not wait.
        from yangfan.client.transport import AsyncTransport

        settings = load(
            Given(
                base_url=base_url,
                api_key=api_key,
                secret_key=secret_key,
                access_token=access_token,
                access_key=access_key,
                secret_access_key=secret_access_key,
                bearer=bearer,
                version=version,
                app_id=app_id,
                timeout_seconds=timeout_seconds,
                max_retries=max_retries,
                proxy=proxy,
                verify_tls=verify_tls,
                headers=headers,
            )
        )
        self._session = AsyncSession(settings, AsyncTransport(settings))
        self.chat = AsyncChat(self._session)
        self.image2text = AsyncImage2Text(self._session)
        self.completions = AsyncCompletions(self._session)
        self.tokenizer = AsyncTokenizer(self._session)
        self.embeddings = AsyncEmbeddings(self._session)
        self.images = AsyncImages(self._session)
        self.rerank = AsyncRerank(self._session)
        self.keys = AsyncKeys(self._session)
        self.apps = AsyncApps(self._session)
        self.jobs = AsyncJobs(self._session)
        self.tokens = AsyncTokens(self._session)
        self.usage = AsyncUsage(self._session)
        self.files = AsyncFiles(self._session)

    # What follows is imported when it is first used: most programs use little of it, and all of it takes as long to import as the rest.

    @cached_property
    def services(self) -> AsyncServices:
        """Names in front of deployed model versions."""
        from yangfan.client._async.services import AsyncServices

        return AsyncServices(self._session)

    @cached_property
    def tuning(self) -> AsyncTuning:
        """Train models on datasets, and publish what comes out."""
        from yangfan.client._async.tuning import AsyncTuning

        return AsyncTuning(self._session, self.models)

    @cached_property
    def datasets(self) -> AsyncDatasets:
        """Datasets in versions, their samples, and what they look like."""
        from yangfan.client._async.datasets import AsyncDatasets

        return AsyncDatasets(self._session)

    @cached_property
    def cleaning(self) -> AsyncCleaning:
        """Versions of datasets made clean, with a reason for each row that goes."""
        from yangfan.client._async.processing import AsyncCleaning

        return AsyncCleaning(self._session)

    @cached_property
    def augmentation(self) -> AsyncAugmentation:
        """Samples that a model makes out of those of a dataset."""
        from yangfan.client._async.processing import AsyncAugmentation

        return AsyncAugmentation(self._session)

    @cached_property
    def prompts(self) -> AsyncPrompts:
        """Prompt templates in versions, and labels that say which one is used."""
        from yangfan.client._async.prompts import AsyncPrompts

        return AsyncPrompts(self._session)

    @cached_property
    def evaluations(self) -> AsyncEvaluations:
        """Evaluating models on datasets."""
        from yangfan.client._async.evaluations import AsyncEvaluations

        return AsyncEvaluations(self._session)

    @cached_property
    def batches(self) -> AsyncBatches:
        """Files of requests that are worked on when there is time."""
        from yangfan.client._async.batches import AsyncBatches

        return AsyncBatches(self._session, self.files)

    @cached_property
    def knowledge(self) -> AsyncKnowledge:
        """Knowledge bases: documents in, the passages that answer a question out."""
        from yangfan.client._async.knowledge import AsyncKnowledge

        return AsyncKnowledge(self._session)

    @cached_property
    def plugins(self) -> AsyncPlugins:
        """Plugin applications, which answer from knowledge bases and about the weather."""
        from yangfan.client._async.plugins import AsyncPlugins

        return AsyncPlugins(self._session)

    @cached_property
    def charge(self) -> AsyncCharge:
        """Capacity of models, in tokens a minute and in compute units."""
        from yangfan.client._async.charge import AsyncCharge

        return AsyncCharge(self._session)

    @cached_property
    def upstreams(self) -> AsyncUpstreams:
        """Other people's servers that the platform asks."""
        from yangfan.client._async.upstreams import AsyncUpstreams

        return AsyncUpstreams(self._session)

    @cached_property
    def models(self) -> AsyncModels:
        """Which names there are."""
        from yangfan.client._async.models import AsyncModels

        return AsyncModels(self._session)

    @cached_property
    def memory(self) -> AsyncMemory:
        """What models are told before every conversation."""
        from yangfan.client._async.memory import AsyncMemory

        return AsyncMemory(self._session)

    @property
    def base_url(self) -> str:
        """Where inference calls go."""
        settings = self._session.settings
        return settings.v1_url if settings.version == 1 else settings.v2_url

    @property
    def version(self) -> Version:
        """Dialect of inference calls."""
        return self._session.settings.version

    async def close(self) -> None:
        """Close every connection; streams that are open end."""
        await self._session.transport.close()

    async def __aenter__(self) -> Self:
        """Close at the end of the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    def __repr__(self) -> str:
        """Address and credentials, the secrets masked."""
        masked = self._session.settings.credentials.masked()
        return f"AsyncClient({', '.join(filter(None, [repr(self.base_url), masked]))})"
