"""What a user of the published `qianfan` package writes to embed and rerank; only the environment points it elsewhere."""

# pyright: basic, reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# A user's program: the package's own types are not what is tested here.

import asyncio
import json

import qianfan
from qianfan.errors import APIError

TEXTS = ["a cat sits on the mat", "the cats sit on mats", "diesel motors burn oil"]
QUERY = "where does the cat sit?"
DOCUMENTS = ["Diesel motors burn oil.", "The cat sits on the mat.", "Rain falls in spring."]
found = {}


def described(answer: object) -> dict:
    """Body and headers; their names may be in any case."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return {"body": answer.body, "headers": headers}


embedding, reranker = qianfan.Embedding(), qianfan.Reranker()
found["embeddings"] = described(embedding.do(texts=TEXTS))
# The package knows only v1 here and sends the same, whatever version it is asked for.
found["version_2"] = described(qianfan.Embedding(version=2).do(texts=TEXTS))
found["by_model"] = embedding.do(texts=TEXTS[:1], model="bge-large-en").body
found["rerank"] = described(reranker.do(query=QUERY, documents=DOCUMENTS, top_n=2))


async def asynchronous() -> None:
    found["async_embeddings"] = described(await embedding.ado(texts=TEXTS))
    found["async_rerank"] = described(await reranker.ado(query=QUERY, documents=DOCUMENTS))


asyncio.run(asynchronous())

for name, call in {
    "too_many": lambda: embedding.do(texts=["a"] * 17),
    "too_long": lambda: embedding.do(texts=["a" * 1001]),
    "no_documents": lambda: reranker.do(query=QUERY, documents=[]),
}.items():
    try:
        call()
    except APIError as error:
        found[name] = {"code": error.error_code, "text": str(error)}

print("RESULT" + json.dumps(found))
