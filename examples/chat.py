"""Ask one question.

Where to ask and as whom comes from the environment: YANGFAN_BASE_URL and YANGFAN_BEARER, for example, which
`yangfan serve` prints when it starts.

    python examples/chat.py 1加1为什么等于2?
"""

from __future__ import annotations

import sys

from yangfan import Client, YangfanError


def main() -> None:
    """Print the answer to the question on the command line."""
    question = " ".join(sys.argv[1:]) or "1加1为什么等于2?"
    with Client() as client:
        try:
            answer = client.chat(
                question, model="ernie_speed", temperature=0.5, max_output_tokens=200
            )
        except YangfanError as error:
            sys.exit(f"{type(error).__name__}: {error}")
    print(answer.text)
    if answer.usage:
        print(
            f"{answer.usage.total_tokens} tokens, answered by {answer.served_model or answer.model}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
