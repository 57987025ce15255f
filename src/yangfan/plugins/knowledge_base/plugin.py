"""What the plugin `uuid-zhishiku` does: passages out of the application's knowledge bases, and what a model is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.plugins.base import Outcome
from yangfan.plugins.knowledge_base.answering import answerable, nothing_found, prompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.plugins.base import Host, Passage

TOP = 6
MOST_UNITS = 3000


async def call(inputs: Mapping[str, Any], host: Host) -> Outcome:
    """Look for passages that answer `query`.

    Raises:
        RefusedError: No room or no engine to look for them, or a base that is no more.
    """
    question = inputs["query"]
    found = await host.search(question, top=TOP)
    request = {"query": question, "kbIds": [*host.base_ids], "score": 0.0, "topN": TOP}
    response = _response(found)
    if not found or not answerable(
        max((each.similarity or 0.0) for each in found), max(each.coverage for each in found)
    ):
        said = nothing_found(question)
        return Outcome(said, answer=said, request=request, response=response)
    texts = tuple(_told(each) for each in found)
    room = min(host.room_tokens / 2, MOST_UNITS)
    return Outcome(
        "\n\n".join(f"[{number}] {text}" for number, text in enumerate(texts, 1)),
        prompt=prompt(host.prompt, question, texts, host.variables, most_units=room),
        sources=texts,
        request=request,
        response=response,
    )


def _told(each: Passage) -> str:
    title = " > ".join(filter(None, (each.document_name, each.headings)))
    return f"{title}\n{each.text}"


def _response(found: Sequence[Passage]) -> dict[str, Any]:
    """`meta_info.response` as the specification shows it (B.11)."""
    responses = [
        {
            "charsNum": len(each.text),
            "content": each.text,
            "contentUrl": "",
            "contentKey": "",
            "docId": each.document_id,
            "docName": each.document_name,
            "docType": each.document_name.rpartition(".")[2],
            "enableStatus": True,
            "hitNum": 0,
            "isShardDeleted": False,
            "kbId": each.base_id,
            "kbName": each.base_name,
            "score": each.score,
            "shardId": str(each.number),
            "shardIndex": each.place,
            "headings": each.headings,
            "page": each.page,
            "coverage": each.coverage,
            "is_truncated": False,
        }
        for each in found
    ]
    return {
        "retCode": 0,
        "message": "",
        "result": {"responses": responses},
        "doc_nums": len({each.document_id for each in found}),
    }
