"""Hold a conversation in the terminal; each answer appears as it is made. End it with an empty line.

Where to ask and as whom comes from the environment: YANGFAN_BASE_URL and YANGFAN_BEARER, for example, which
`yangfan serve` prints when it starts.

    python examples/chat_stream.py
"""

from __future__ import annotations

from yangfan import Client


def main() -> None:
    """Read questions, print answers, and keep the turns so that the model knows what was said."""
    turns: list[dict[str, object]] = []
    with Client() as client:
        while question := _ask():
            turns.append({"role": "user", "content": question})
            with client.chat(turns, model="ernie_speed", stream=True) as stream:
                for event in stream:
                    print(event.text, end="", flush=True)
                print()
                turns.append(stream.result().message)


def _ask() -> str:
    try:
        return input("> ")
    except EOFError:
        return ""


if __name__ == "__main__":
    main()
