"""`POST /v2/knowledgeBase?Action=…`: knowledge bases. Named as in Baidu's AppBuilder; the shapes are this platform's own.

Any inference credential opens these, bearer keys too, for programs that answer questions use them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2.keys import ActionReply

PATH = "/v2/knowledgeBase"

BaseId = Annotated[str, Meta(max_length=64)]
DocumentId = Annotated[str, Meta(max_length=64)]
PageSize = Annotated[int, Meta(ge=1, le=1000)]
DocumentState = Literal["waiting", "indexing", "ready", "failed"]
SearchMode = Literal["hybrid", "fulltext", "semantic"]


class ChunkingRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How documents are cut."""

    targetLength: int = 220  # noqa: N815 - the wire's spelling
    """Length to aim at, in Chinese characters; four Latin ones count as one. 50 to 1200."""
    overlapRate: float = 0.15  # noqa: N815 - the wire's spelling
    """Share of a chunk that the next one of the same section begins with. 0 to 0.5."""


class CreateKnowledgeBase(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A new base."""

    name: str
    description: str = ""
    embedder: str = ""
    """A served model of embeddings; the first one by default."""
    chunking: ChunkingRule = ChunkingRule()
    readers: list[str] = []
    """Further applications that may search it; ``*`` for all."""


class ModifyKnowledgeBase(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to change; what is absent stays."""

    id: BaseId
    name: str | None = None
    description: str | None = None
    embedder: str | None = None
    chunking: ChunkingRule | None = None
    readers: list[str] | None = None


class NamedKnowledgeBase(msgspec.Struct):
    """Which one."""

    id: BaseId


class DescribeKnowledgeBases(msgspec.Struct):
    """All that the caller may search."""


class KnowledgeBase(msgspec.Struct, kw_only=True):
    """A base."""

    id: str
    name: str
    description: str
    embedder: str
    nextEmbedder: str  # noqa: N815 - the wire's spelling
    """The model that vectors are being made anew with; "" when none is."""
    chunking: ChunkingRule
    readers: list[str]
    chunks: int
    jobId: str  # noqa: N815 - the wire's spelling
    """The job that works on it now; "" when none does."""
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling


class KnowledgeBases(msgspec.Struct):
    """All of them, the oldest first."""

    items: list[KnowledgeBase]


class TextDocument(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A document as text; the ending of its name says how to read it: .md, .html, .csv, or plain text."""

    name: str
    text: str
    metadata: dict[str, Any] = {}


class CreateDocuments(msgspec.Struct, kw_only=True):
    """Documents that come as text."""

    id: BaseId
    documents: Annotated[list[TextDocument], Meta(min_length=1, max_length=100)]


class FetchDocument(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A page of the web, or another document that is there; or with `documentId` one that came from there, to be fetched again."""

    id: BaseId
    url: Annotated[str, Meta(max_length=2048)] = ""
    documentId: Annotated[str, Meta(max_length=64)] = ""  # noqa: N815 - the wire's spelling
    metadata: dict[str, Any] = {}


class DescribeDocuments(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A page of documents, in the order in which they came."""

    id: BaseId
    state: DocumentState | None = None
    keyword: Annotated[str, Meta(max_length=255)] = ""
    """Part of the name."""
    marker: str | None = None
    """`nextMarker` of the page before."""
    maxKeys: PageSize = 100  # noqa: N815 - the wire's spelling


class NamedDocument(msgspec.Struct, kw_only=True):
    """Which one."""

    id: BaseId
    documentId: DocumentId  # noqa: N815 - the wire's spelling


class ModifyDocument(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to change; what is absent stays."""

    id: BaseId
    documentId: DocumentId  # noqa: N815 - the wire's spelling
    enabled: bool | None = None
    metadata: dict[str, Any] | None = None


class KnowledgeDocument(msgspec.Struct, kw_only=True):
    """A document."""

    id: str
    name: str
    state: DocumentState
    error: str
    metadata: dict[str, Any]
    enabled: bool
    chunks: int
    wordCount: int  # noqa: N815 - the wire's spelling
    sizeInBytes: int  # noqa: N815 - the wire's spelling
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling


class KnowledgeDocuments(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A page of them."""

    items: list[KnowledgeDocument]
    nextMarker: str | None = None  # noqa: N815 - the wire's spelling


class DescribeChunks(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A page of a document's chunks, in its order."""

    id: BaseId
    documentId: DocumentId  # noqa: N815 - the wire's spelling
    after: Annotated[int, Meta(ge=-1)] = -1
    """`place` of the last chunk of the page before."""
    maxKeys: PageSize = 100  # noqa: N815 - the wire's spelling


class CreateChunk(msgspec.Struct, kw_only=True):
    """A chunk of one's own, at the end of a document."""

    id: BaseId
    documentId: DocumentId  # noqa: N815 - the wire's spelling
    content: str


class ModifyChunk(msgspec.Struct, kw_only=True):
    """Whether searches find a chunk."""

    chunkId: int  # noqa: N815 - the wire's spelling
    enabled: bool


class NamedChunk(msgspec.Struct, kw_only=True):
    """Which one."""

    chunkId: int  # noqa: N815 - the wire's spelling


class KnowledgeChunk(msgspec.Struct, kw_only=True):
    """A chunk."""

    chunkId: int  # noqa: N815 - the wire's spelling
    place: int
    content: str
    headings: str
    page: int
    enabled: bool


class KnowledgeChunks(msgspec.Struct):
    """A page of them."""

    items: list[KnowledgeChunk]


class MetadataCondition(msgspec.Struct, kw_only=True):
    """What a document must be like: `field` of its metadata, doc_id or doc_name."""

    field: str
    operator: str = "=="
    value: Any = None


class MetadataFilters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Conditions, all (`and`) or one (`or`) of which must hold."""

    filters: list[MetadataCondition] = []
    condition: Literal["and", "or"] = "and"


class SearchKnowledgeBases(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to look for, and where."""

    query: str
    knowledgebase_ids: Annotated[list[BaseId], Meta(max_length=20)]
    type: SearchMode = "hybrid"
    top: int = 6
    skip: int = 0
    least_similarity: Annotated[float, Meta(ge=-1, le=1)] | None = None
    metadata_filters: MetadataFilters = MetadataFilters()
    neighbours: bool = False
    rerank: bool = True


class FoundChunk(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A passage that answers the question."""

    chunkId: int  # noqa: N815 - the wire's spelling
    knowledgeBaseId: str  # noqa: N815 - the wire's spelling
    documentId: str  # noqa: N815 - the wire's spelling
    documentName: str  # noqa: N815 - the wire's spelling
    metadata: dict[str, Any]
    place: int
    page: int
    headings: str
    content: str
    score: float
    similarity: float | None = None
    wordsScore: float | None = None  # noqa: N815 - the wire's spelling
    coverage: float = 0.0
    before: str | None = None
    after: str | None = None


class FoundChunks(msgspec.Struct):
    """The best first."""

    items: list[FoundChunk]


class RelevantDocument(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A document that answers a question."""

    document: Annotated[str, Meta(min_length=1, max_length=200, description="Its id or name.")]
    grade: Annotated[int, Meta(ge=1, le=3, description="How well it answers.")] = 1


class JudgedQuestion(msgspec.Struct, kw_only=True):
    """A question, and what should be found."""

    query: str
    relevant: Annotated[list[RelevantDocument], Meta(min_length=1, max_length=50)]


class EvaluateKnowledgeBases(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Questions whose answers are known."""

    knowledgebase_ids: Annotated[list[BaseId], Meta(max_length=20)]
    questions: Annotated[list[JudgedQuestion], Meta(min_length=1, max_length=200)]
    types: Annotated[list[SearchMode], Meta(min_length=1, max_length=3)] = msgspec.field(
        default_factory=lambda: ["hybrid", "fulltext", "semantic"]
    )
    cutoffs: Annotated[
        list[Annotated[int, Meta(ge=1, le=100)]],
        Meta(min_length=1, max_length=10, description="How many of the found documents count."),
    ] = msgspec.field(default_factory=lambda: [1, 3, 10])
    rerank: bool = True


class RetrievalFigures(msgspec.Struct, kw_only=True):
    """Means over the questions, 0 to 1; `recall` and `ndcg` by cutoff."""

    type: SearchMode
    recall: dict[str, float]
    ndcg: dict[str, float]
    meanReciprocalRank: float  # noqa: N815 - the wire's spelling
    ranks: Annotated[
        list[list[int]],
        Meta(description="Of each question's documents, in the order given; 0 for one not found."),
    ]


class RetrievalQuality(msgspec.Struct):
    """One set of figures for each way of searching."""

    items: list[RetrievalFigures]


def _action(
    name: str, action: str, request: Any, reply: Any, summary: str, summary_zh: str
) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v2.knowledge.{name}",
        dialect="action",
        method="POST",
        path=PATH,
        action=action,
        request=request,
        reply=ActionReply[reply],
        auth="inference",
        asks_models=False,
        summary=summary,
        summary_zh=summary_zh,
        spec="B.11",
    )


CREATE_BASE = _action(
    "create",
    "CreateKnowledgeBase",
    CreateKnowledgeBase,
    KnowledgeBase,
    "Make a knowledge base.",
    "创建知识库。",
)
DESCRIBE_BASES = _action(
    "list",
    "DescribeKnowledgeBases",
    DescribeKnowledgeBases,
    KnowledgeBases,
    "List the knowledge bases that the caller may search.",
    "查询可检索的知识库列表。",
)
DESCRIBE_BASE = _action(
    "get",
    "DescribeKnowledgeBase",
    NamedKnowledgeBase,
    KnowledgeBase,
    "Show a knowledge base.",
    "查询知识库详情。",
)
MODIFY_BASE = _action(
    "modify",
    "ModifyKnowledgeBase",
    ModifyKnowledgeBase,
    KnowledgeBase,
    "Change a knowledge base; another embedder has its vectors made anew.",
    "修改知识库；更换向量模型会在不中断检索的情况下重建向量。",
)
DELETE_BASE = _action(
    "delete",
    "DeleteKnowledgeBase",
    NamedKnowledgeBase,
    bool,
    "Delete a knowledge base with everything in it.",
    "删除知识库及其全部内容。",
)
UPLOAD_DOCUMENT = _action(
    "upload",
    "UploadDocuments",
    bytes,
    KnowledgeDocument,
    "Add a document: multipart/form-data with `id`, `file` and, if wanted, `metadata`.",
    "上传文档：multipart/form-data，字段为 id、file，可选 metadata。",
)
CREATE_DOCUMENTS = _action(
    "add_texts",
    "CreateDocuments",
    CreateDocuments,
    KnowledgeDocuments,
    "Add documents that come as text.",
    "以文本形式添加文档。",
)
FETCH_DOCUMENT = _action(
    "fetch",
    "FetchDocument",
    FetchDocument,
    KnowledgeDocument,
    "Add a page of the web, or fetch it again.",
    "抓取网页作为文档，或重新抓取。",
)
DESCRIBE_DOCUMENTS = _action(
    "documents",
    "DescribeDocuments",
    DescribeDocuments,
    KnowledgeDocuments,
    "List the documents of a knowledge base.",
    "查询知识库的文档列表。",
)
DESCRIBE_DOCUMENT = _action(
    "document",
    "DescribeDocument",
    NamedDocument,
    KnowledgeDocument,
    "Show a document.",
    "查询文档详情。",
)
MODIFY_DOCUMENT = _action(
    "modify_document",
    "ModifyDocument",
    ModifyDocument,
    KnowledgeDocument,
    "Hide a document from searches, show it again, or change its metadata.",
    "启用、停用文档，或修改其元数据。",
)
DELETE_DOCUMENT = _action(
    "delete_document",
    "DeleteDocument",
    NamedDocument,
    bool,
    "Delete a document; searches find nothing of it from then on.",
    "删除文档，立即不可检索。",
)
INDEX_DOCUMENT = _action(
    "index_again",
    "IndexDocument",
    NamedDocument,
    KnowledgeDocument,
    "Read a document again.",
    "重新解析文档。",
)
DESCRIBE_CHUNKS = _action(
    "chunks",
    "DescribeChunks",
    DescribeChunks,
    KnowledgeChunks,
    "List the chunks of a document.",
    "查询文档的切片列表。",
)
CREATE_CHUNK = _action(
    "add_chunk",
    "CreateChunk",
    CreateChunk,
    KnowledgeChunk,
    "Add a chunk of one's own to a document.",
    "为文档添加自定义切片。",
)
MODIFY_CHUNK = _action(
    "modify_chunk",
    "ModifyChunk",
    ModifyChunk,
    KnowledgeChunk,
    "Hide a chunk from searches, or show it again.",
    "启用或停用切片。",
)
DELETE_CHUNK = _action(
    "delete_chunk",
    "DeleteChunk",
    NamedChunk,
    bool,
    "Delete a chunk.",
    "删除切片。",
)
SEARCH = _action(
    "search",
    "SearchKnowledgeBases",
    SearchKnowledgeBases,
    FoundChunks,
    "Find the passages that answer a question: by words, by meaning, or both.",
    "检索知识库：全文、语义或混合检索。",
)

EVALUATE = _action(
    "evaluate",
    "EvaluateKnowledgeBases",
    EvaluateKnowledgeBases,
    RetrievalQuality,
    "Measure how well searches answer questions whose answers are known: recall, nDCG, reciprocal rank.",
    "用自有问题评测检索质量：召回率、nDCG 与倒数排名。",
)


class TakeTexts(msgspec.Struct):
    """A worker asks for chunks that have no vector of a generation yet."""

    base: str
    generation: int


class TakenTexts(msgspec.Struct):
    """Numbers of chunks, and what the model reads of each."""

    texts: list[tuple[int, str]]
