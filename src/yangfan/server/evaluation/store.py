"""Evaluations in the database: SQL in, types out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from yangfan.server.evaluation.tables import EVALUATION_SCORES, EVALUATIONS
from yangfan.server.evaluation.types import Evaluation, HumanScore, Order, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_C = EVALUATIONS.c
_S = EVALUATION_SCORES.c


async def add(connection: AsyncConnection, evaluation: Evaluation) -> Evaluation:
    """Insert one; its number is given here."""
    values = {
        "id": evaluation.id,
        "app_id": evaluation.app_id,
        "job_id": evaluation.job_id,
        "state": evaluation.state,
        "created_ms": evaluation.created_ms,
        "asked": _json(evaluation.order),
        "outcome": _json(evaluation.outcome),
    }
    done = await connection.execute(sa.insert(EVALUATIONS).values(values))
    (number,) = done.inserted_primary_key or (0,)
    return replace(evaluation, number=number)


async def save(connection: AsyncConnection, evaluation: Evaluation) -> None:
    """Keep its state and what came out."""
    await connection.execute(
        sa.update(EVALUATIONS)
        .where(_C.number == evaluation.number)
        .values(state=evaluation.state, outcome=_json(evaluation.outcome))
    )


async def find(connection: AsyncConnection, **wanted: Any) -> Evaluation | None:
    """The one with these values."""
    query = sa.select(EVALUATIONS).where(*(_C[name] == value for name, value in wanted.items()))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _evaluation(row)


async def page(
    connection: AsyncConnection,
    app_id: str,
    after: int | None,
    count: int,
    *,
    newest_first: bool,
) -> list[Evaluation]:
    """Up to `count` of an application's, behind that number."""
    query = sa.select(EVALUATIONS).where(_C.app_id == app_id).limit(count)
    if after is not None:
        query = query.where(_C.number < after if newest_first else _C.number > after)
    query = query.order_by(_C.number.desc() if newest_first else _C.number)
    return [_evaluation(row) for row in await connection.execute(query)]


async def remove(connection: AsyncConnection, number: int) -> None:
    """Delete one, and what people said."""
    await connection.execute(sa.delete(EVALUATION_SCORES).where(_S.evaluation_number == number))
    await connection.execute(sa.delete(EVALUATIONS).where(_C.number == number))


async def give(
    connection: AsyncConnection, number: int, scores: Sequence[HumanScore], now_ms: int
) -> None:
    """Keep what people say, in place of what the same ones said before."""
    for score in scores:
        await connection.execute(
            sa.delete(EVALUATION_SCORES).where(
                _S.evaluation_number == number,
                _S.result_id == score.result_id,
                _S.dimension == score.dimension,
                _S.scorer == score.scorer,
            )
        )
    rows = [
        {
            "evaluation_number": number,
            "result_id": score.result_id,
            "dimension": score.dimension,
            "scorer": score.scorer,
            "thousandths": round(1000 * score.value),
            "comment": score.comment,
            "given_ms": now_ms,
        }
        for score in scores
    ]
    await connection.execute(sa.insert(EVALUATION_SCORES), rows)


async def given(connection: AsyncConnection, number: int) -> list[HumanScore]:
    """What people said about the answers of an evaluation, in order."""
    query = sa.select(EVALUATION_SCORES).where(_S.evaluation_number == number).order_by(_S.number)
    return [
        HumanScore(
            result_id=row.result_id,
            dimension=row.dimension,
            value=row.thousandths / 1000,
            scorer=row.scorer,
            comment=row.comment,
        )
        for row in await connection.execute(query)
    ]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _evaluation(row: sa.Row[Any]) -> Evaluation:
    return Evaluation(
        number=row.number,
        id=row.id,
        app_id=row.app_id,
        job_id=row.job_id,
        state=row.state,
        created_ms=row.created_ms,
        order=msgspec.json.decode(row.asked, type=Order),
        outcome=msgspec.json.decode(row.outcome, type=Outcome),
    )
