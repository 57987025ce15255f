"""v2: the Actions of /v2/knowledgeBase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.errors import Forbidden, Invalid
from yangfan.plugins.knowledge_base.chunks import Chunking
from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2 import knowledge as wire
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success
from yangfan.server.knowledge.quality import Judged
from yangfan.server.knowledge.types import Condition, Filter, Question

if TYPE_CHECKING:
    from yangfan.server.knowledge.logic import Knowledge
    from yangfan.server.knowledge.quality import Figures
    from yangfan.server.knowledge.types import Base, Document, Found, Passage


def routes(knowledge: Knowledge) -> list[Route]:
    """What this file answers to callers."""
    return [*_base_routes(knowledge), *_document_routes(knowledge), *_chunk_routes(knowledge)]


def worker_routes(knowledge: Knowledge) -> list[Route]:
    """What this file answers to workers."""

    async def take_texts(call: Call[wire.TakeTexts]) -> Reply:
        if call.principal.kind not in {"job", "none"}:
            raise Forbidden("this call is for workers of the platform only")
        texts = await knowledge.work.texts(call.request.base, call.request.generation)
        return Reply(wire.TakenTexts(texts))

    endpoint = Endpoint[wire.TakeTexts, wire.TakenTexts](
        name="internal.TakeTexts",
        dialect="action",
        method="POST",
        path="/internal/knowledge",
        action="TakeTexts",
        request=wire.TakeTexts,
        reply=wire.TakenTexts,
        asks_models=False,
    )
    return [Route(endpoint, take_texts)]


def _base_routes(knowledge: Knowledge) -> list[Route]:
    async def create(call: Call[wire.CreateKnowledgeBase]) -> Reply:
        wanted = call.request
        base = await knowledge.create(
            call.principal.app_id,
            wanted.name,
            description=wanted.description,
            embedder=wanted.embedder,
            chunking=_chunking(wanted.chunking),
            readers=wanted.readers,
        )
        return success(_base(base))

    async def list_all(call: Call[wire.DescribeKnowledgeBases]) -> Reply:
        found = await knowledge.bases(call.principal.app_id)
        return success(wire.KnowledgeBases([*map(_base, found)]))

    async def show(call: Call[wire.NamedKnowledgeBase]) -> Reply:
        return success(_base(await knowledge.base(call.request.id, call.principal.app_id)))

    async def modify(call: Call[wire.ModifyKnowledgeBase]) -> Reply:
        wanted = call.request
        base = await knowledge.modify(
            wanted.id,
            call.principal.app_id,
            name=wanted.name,
            description=wanted.description,
            embedder=wanted.embedder,
            chunking=None if wanted.chunking is None else _chunking(wanted.chunking),
            readers=wanted.readers,
        )
        return success(_base(base))

    async def delete(call: Call[wire.NamedKnowledgeBase]) -> Reply:
        await knowledge.delete(call.request.id, call.principal.app_id)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def search(call: Call[wire.SearchKnowledgeBases]) -> Reply:
        wanted = call.request
        conditions = tuple(
            Condition(each.field, each.operator, each.value)
            for each in wanted.metadata_filters.filters
        )
        question = Question(
            wanted.query,
            mode=wanted.type,
            top=wanted.top,
            skip=wanted.skip,
            least_similarity=wanted.least_similarity,
            filter=Filter(conditions, any=wanted.metadata_filters.condition == "or"),
            neighbours=wanted.neighbours,
            rerank=wanted.rerank,
        )
        found = await knowledge.search(
            wanted.knowledgebase_ids, call.principal.app_id, question, call.principal.key_id
        )
        return success(wire.FoundChunks([*map(_found, found)]))

    async def evaluate(call: Call[wire.EvaluateKnowledgeBases]) -> Reply:
        wanted = call.request
        figures = await knowledge.evaluate(
            wanted.knowledgebase_ids,
            call.principal.app_id,
            [
                Judged(each.query, {one.document: one.grade for one in each.relevant})
                for each in wanted.questions
            ],
            modes=wanted.types,
            cutoffs=wanted.cutoffs,
            rerank=wanted.rerank,
            key=call.principal.key_id,
        )
        return success(wire.RetrievalQuality([*map(_figures, figures)]))

    return [
        Route(wire.CREATE_BASE, create),
        Route(wire.DESCRIBE_BASES, list_all),
        Route(wire.DESCRIBE_BASE, show),
        Route(wire.MODIFY_BASE, modify),
        Route(wire.DELETE_BASE, delete),
        Route(wire.SEARCH, search),
        Route(wire.EVALUATE, evaluate),
    ]


def _document_routes(knowledge: Knowledge) -> list[Route]:
    async def upload(call: Call[bytes]) -> Reply:
        content_type = next(
            (value for name, value in call.scope["headers"] if name == b"content-type"), b""
        )
        _, document = await knowledge.upload(call.principal.app_id, content_type, call.pieces)
        return success(_document(document))

    async def add_texts(call: Call[wire.CreateDocuments]) -> Reply:
        made = [
            await knowledge.add_text(
                call.principal.app_id, call.request.id, each.name, each.text, each.metadata
            )
            for each in call.request.documents
        ]
        return success(wire.KnowledgeDocuments(items=[*map(_document, made)]))

    async def fetch(call: Call[wire.FetchDocument]) -> Reply:
        wanted, app_id = call.request, call.principal.app_id
        if bool(wanted.url) == bool(wanted.documentId):
            raise Invalid("give either url or documentId", param="url")
        if wanted.documentId:
            document = await knowledge.fetch_again(wanted.id, wanted.documentId, app_id)
        else:
            document = await knowledge.add_page(app_id, wanted.id, wanted.url, wanted.metadata)
        return success(_document(document))

    async def list_all(call: Call[wire.DescribeDocuments]) -> Reply:
        wanted = call.request
        found, marker = await knowledge.documents(
            wanted.id,
            call.principal.app_id,
            after=wanted.marker or None,
            limit=wanted.maxKeys,
            state=wanted.state,
            name=wanted.keyword,
        )
        return success(wire.KnowledgeDocuments(items=[*map(_document, found)], nextMarker=marker))

    async def show(call: Call[wire.NamedDocument]) -> Reply:
        wanted = call.request
        return success(
            _document(await knowledge.document(wanted.id, wanted.documentId, call.principal.app_id))
        )

    async def modify(call: Call[wire.ModifyDocument]) -> Reply:
        wanted = call.request
        document = await knowledge.modify_document(
            wanted.id,
            wanted.documentId,
            call.principal.app_id,
            enabled=wanted.enabled,
            metadata=wanted.metadata,
        )
        return success(_document(document))

    async def delete(call: Call[wire.NamedDocument]) -> Reply:
        wanted = call.request
        await knowledge.delete_document(wanted.id, wanted.documentId, call.principal.app_id)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def index_again(call: Call[wire.NamedDocument]) -> Reply:
        wanted = call.request
        return success(
            _document(
                await knowledge.index_again(wanted.id, wanted.documentId, call.principal.app_id)
            )
        )

    return [
        Route(wire.UPLOAD_DOCUMENT, upload),
        Route(wire.CREATE_DOCUMENTS, add_texts),
        Route(wire.FETCH_DOCUMENT, fetch),
        Route(wire.DESCRIBE_DOCUMENTS, list_all),
        Route(wire.DESCRIBE_DOCUMENT, show),
        Route(wire.MODIFY_DOCUMENT, modify),
        Route(wire.DELETE_DOCUMENT, delete),
        Route(wire.INDEX_DOCUMENT, index_again),
    ]


def _chunk_routes(knowledge: Knowledge) -> list[Route]:
    async def list_all(call: Call[wire.DescribeChunks]) -> Reply:
        wanted = call.request
        found = await knowledge.chunks(
            wanted.id,
            wanted.documentId,
            call.principal.app_id,
            after=wanted.after,
            limit=wanted.maxKeys,
        )
        return success(wire.KnowledgeChunks([*map(_chunk, found)]))

    async def add(call: Call[wire.CreateChunk]) -> Reply:
        wanted = call.request
        passage = await knowledge.add_chunk(
            wanted.id,
            wanted.documentId,
            call.principal.app_id,
            wanted.content,
            call.principal.key_id,
        )
        return success(_chunk(passage))

    async def modify(call: Call[wire.ModifyChunk]) -> Reply:
        wanted = call.request
        passage = await knowledge.modify_chunk(
            wanted.chunkId, call.principal.app_id, enabled=wanted.enabled
        )
        return success(_chunk(passage))

    async def delete(call: Call[wire.NamedChunk]) -> Reply:
        await knowledge.delete_chunk(call.request.chunkId, call.principal.app_id)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.DESCRIBE_CHUNKS, list_all),
        Route(wire.CREATE_CHUNK, add),
        Route(wire.MODIFY_CHUNK, modify),
        Route(wire.DELETE_CHUNK, delete),
    ]


def _chunking(rule: wire.ChunkingRule) -> Chunking:
    return Chunking(target_units=rule.targetLength, overlap=rule.overlapRate)


def _base(base: Base) -> wire.KnowledgeBase:
    return wire.KnowledgeBase(
        id=base.id,
        name=base.name,
        description=base.description,
        embedder=base.embedder,
        nextEmbedder=base.next_embedder,
        chunking=wire.ChunkingRule(
            targetLength=base.chunking.target_units, overlapRate=base.chunking.overlap
        ),
        readers=[*base.readers],
        chunks=base.chunks,
        jobId=base.job_id,
        createTime=moment(base.created_ms),
        modifyTime=moment(base.modified_ms),
    )


def _document(document: Document) -> wire.KnowledgeDocument:
    return wire.KnowledgeDocument(
        id=document.id,
        name=document.name,
        state=document.state,
        error=document.error,
        metadata={**document.metadata},
        enabled=document.enabled,
        chunks=document.chunks,
        wordCount=document.characters,
        sizeInBytes=document.size_bytes,
        createTime=moment(document.created_ms),
        modifyTime=moment(document.modified_ms),
    )


def _chunk(passage: Passage) -> wire.KnowledgeChunk:
    return wire.KnowledgeChunk(
        chunkId=passage.number,
        place=passage.place,
        content=passage.text,
        headings=passage.headings,
        page=passage.page,
        enabled=passage.enabled,
    )


def _figures(figures: Figures) -> wire.RetrievalFigures:
    return wire.RetrievalFigures(
        type=figures.mode,
        recall={str(cutoff): value for cutoff, value in figures.recall.items()},
        ndcg={str(cutoff): value for cutoff, value in figures.ndcg.items()},
        meanReciprocalRank=figures.reciprocal_rank,
        ranks=[[*ranks] for ranks in figures.ranks],
    )


def _found(found: Found) -> wire.FoundChunk:
    passage = found.passage
    around: dict[str, Any] = {}
    if found.before is not None:
        around["before"] = found.before.text
    if found.after is not None:
        around["after"] = found.after.text
    return wire.FoundChunk(
        chunkId=passage.number,
        knowledgeBaseId=found.base.id,
        documentId=found.document.id,
        documentName=found.document.name,
        metadata={**found.document.metadata},
        place=passage.place,
        page=passage.page,
        headings=passage.headings,
        content=passage.text,
        score=found.score,
        similarity=found.similarity,
        wordsScore=found.words_score,
        coverage=found.coverage,
        **around,
    )
