# Generated from _async by scripts/unasync.py; edit there.
"""`Client`: the way in."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from yangfan.client._sync.apps import Apps
from yangfan.client._sync.chat import Chat
from yangfan.client._sync.completions import Completions
from yangfan.client._sync.embeddings import Embeddings
from yangfan.client._sync.files import Files
from yangfan.client._sync.image2text import Image2Text
from yangfan.client._sync.images import Images
from yangfan.client._sync.jobs import Jobs
from yangfan.client._sync.keys import Keys
from yangfan.client._sync.rerank import Rerank
from yangfan.client._sync.session import Session
from yangfan.client._sync.tokenizer import Tokenizer
from yangfan.client._sync.tokens import Tokens
from yangfan.client._sync.usage import Usage
from yangfan.client.settings import Given, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from yangfan.client._sync.batches import Batches
    from yangfan.client._sync.charge import Charge
    from yangfan.client._sync.datasets import Datasets
    from yangfan.client._sync.evaluations import Evaluations
    from yangfan.client._sync.knowledge import Knowledge
    from yangfan.client._sync.memory import Memory
    from yangfan.client._sync.models import Models
    from yangfan.client._sync.plugins import Plugins
    from yangfan.client._sync.processing import Augmentation, Cleaning
    from yangfan.client._sync.prompts import Prompts
    from yangfan.client._sync.services import Services
    from yangfan.client._sync.tuning import Tuning
    from yangfan.client._sync.upstreams import Upstreams
    from yangfan.client.settings import Version


class Client:
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
        from yangfan.client.transport import Transport

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
        self._session = Session(settings, Transport(settings))
        self.chat = Chat(self._session)
        self.image2text = Image2Text(self._session)
        self.completions = Completions(self._session)
        self.tokenizer = Tokenizer(self._session)
        self.embeddings = Embeddings(self._session)
        self.images = Images(self._session)
        self.rerank = Rerank(self._session)
        self.keys = Keys(self._session)
        self.apps = Apps(self._session)
        self.jobs = Jobs(self._session)
        self.tokens = Tokens(self._session)
        self.usage = Usage(self._session)
        self.files = Files(self._session)

    # What follows is imported when it is first used: most programs use little of it, and all of it takes as long to import as the rest.

    @cached_property
    def services(self) -> Services:
        """Names in front of deployed model versions."""
        from yangfan.client._sync.services import Services

        return Services(self._session)

    @cached_property
    def tuning(self) -> Tuning:
        """Train models on datasets, and publish what comes out."""
        from yangfan.client._sync.tuning import Tuning

        return Tuning(self._session, self.models)

    @cached_property
    def datasets(self) -> Datasets:
        """Datasets in versions, their samples, and what they look like."""
        from yangfan.client._sync.datasets import Datasets

        return Datasets(self._session)

    @cached_property
    def cleaning(self) -> Cleaning:
        """Versions of datasets made clean, with a reason for each row that goes."""
        from yangfan.client._sync.processing import Cleaning

        return Cleaning(self._session)

    @cached_property
    def augmentation(self) -> Augmentation:
        """Samples that a model makes out of those of a dataset."""
        from yangfan.client._sync.processing import Augmentation

        return Augmentation(self._session)

    @cached_property
    def prompts(self) -> Prompts:
        """Prompt templates in versions, and labels that say which one is used."""
        from yangfan.client._sync.prompts import Prompts

        return Prompts(self._session)

    @cached_property
    def evaluations(self) -> Evaluations:
        """Evaluating models on datasets."""
        from yangfan.client._sync.evaluations import Evaluations

        return Evaluations(self._session)

    @cached_property
    def batches(self) -> Batches:
        """Files of requests that are worked on when there is time."""
        from yangfan.client._sync.batches import Batches

        return Batches(self._session, self.files)

    @cached_property
    def knowledge(self) -> Knowledge:
        """Knowledge bases: documents in, the passages that answer a question out."""
        from yangfan.client._sync.knowledge import Knowledge

        return Knowledge(self._session)

    @cached_property
    def plugins(self) -> Plugins:
        """Plugin applications, which answer from knowledge bases and about the weather."""
        from yangfan.client._sync.plugins import Plugins

        return Plugins(self._session)

    @cached_property
    def charge(self) -> Charge:
        """Capacity of models, in tokens a minute and in compute units."""
        from yangfan.client._sync.charge import Charge

        return Charge(self._session)

    @cached_property
    def upstreams(self) -> Upstreams:
        """Other people's servers that the platform asks."""
        from yangfan.client._sync.upstreams import Upstreams

        return Upstreams(self._session)

    @cached_property
    def models(self) -> Models:
        """Which names there are."""
        from yangfan.client._sync.models import Models

        return Models(self._session)

    @cached_property
    def memory(self) -> Memory:
        """What models are told before every conversation."""
        from yangfan.client._sync.memory import Memory

        return Memory(self._session)

    @property
    def base_url(self) -> str:
        """Where inference calls go."""
        settings = self._session.settings
        return settings.v1_url if settings.version == 1 else settings.v2_url

    @property
    def version(self) -> Version:
        """Dialect of inference calls."""
        return self._session.settings.version

    def close(self) -> None:
        """Close every connection; streams that are open end."""
        self._session.transport.close()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        """Address and credentials, the secrets masked."""
        masked = self._session.settings.credentials.masked()
        return f"Client({', '.join(filter(None, [repr(self.base_url), masked]))})"
