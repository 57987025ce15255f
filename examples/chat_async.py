"""Ask several questions at once and print the answers in the order of the questions.

Where to ask and as whom comes from the environment: YANGFAN_BASE_URL and YANGFAN_BEARER, for example, which
`yangfan serve` prints when it starts.

    python examples/chat_async.py 天空为什么是蓝色的? 海水为什么是咸的?
"""

from __future__ import annotations

import asyncio
import sys

from yangfan import AsyncClient, ChatResult, YangfanError


async def main(questions: list[str]) -> None:
    """Print each question with its answer, or with the error that it ended with."""
    async with AsyncClient() as client:
        answers = await asyncio.gather(
            *(client.chat(question, model="ernie_speed") for question in questions),
            return_exceptions=True,
        )
    for question, answer in zip(questions, answers, strict=True):
        if isinstance(answer, ChatResult):
            print(f"{question}\n{answer.text}\n")
        elif isinstance(answer, YangfanError):
            print(f"{question}\n{type(answer).__name__}: {answer}\n")
        else:
            raise answer


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["天空为什么是蓝色的?", "海水为什么是咸的?"]))
