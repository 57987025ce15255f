"""The formats of data (specification D.7, D.8): what a row of each holds, how it is read, and how it is written.

Every row is a `Sample`, whatever it was imported from: readers turn rows into it once, and trainers, scorers, operators and
writers need to know nothing else. In shards it stands as canonical JSON: the same sample is the same bytes.

The shapes are those of Baidu's pages (https://cloud.baidu.com/doc/WENXINWORKSHOP/s/…: 3ly70wuxy for KTO, 3liu6c1jz for prompts) and of
`qianfan.dataset.schema` 0.4.12.3. Reading is liberal: the common spellings of others (`messages`, `conversations`, `instruction`,
`output`, `completion` with `label`) are taken too. A field that no format knows is kept in `extra` and written again.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from yangfan.errors import BadSample, Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MAX_SAMPLE_BYTES = 16 * 1024 * 1024
"""Longest sample as canonical JSON."""

ROLES = ("system", "user", "assistant", "tool", "function")


class Numbers(NamedTuple):
    """How v1 spells a format (D.7)."""

    project_type: int
    template_type: int
    data_type: int


class DataFormat(Enum):
    """A format; its value is v2's `dataFormat`.

    v1 has numbers for six of them; the others borrow those of the one that is nearest, so that a client of v1 can name them:
    `Role` and `SFT_FIM` those of a conversation, KTO those of DPO, `PromptImageResponse` those of text-to-image.
    """

    PROMPT_RESPONSE = "PromptResponse"
    """Conversations: turns of a prompt and one response."""
    ROLE = "Role"
    """Conversations as messages with roles."""
    SFT_FIM = "SFT_FIM"
    """Fill in the middle: prefix, suffix, middle."""
    TEXT = "Text"
    """Text as it is, to go on with pre-training."""
    DPO = "DPO_PromptChosenRejected"
    """A prompt with a better and a worse response."""
    KTO = "KTO_PromptChosenRejected"
    """A prompt with a response that is wanted, or one that is not."""
    SORTED = "PromptSortedresponses"
    """Turns of a prompt and several responses, the best first."""
    PROMPT = "Prompt"
    """Prompts alone: the query set."""
    PROMPT_IMAGE = "PromptImage"
    """Text-to-image pairs: a picture and the text that describes it."""
    PROMPT_IMAGE_RESPONSE = "PromptImageResponse"
    """Conversations about pictures."""

    @property
    def numbers(self) -> Numbers:
        """Its numbers in v1, or those of the format nearest to it."""
        return _NUMBERS[self]

    @property
    def has_images(self) -> bool:
        """Whether its samples have pictures."""
        return self in {DataFormat.PROMPT_IMAGE, DataFormat.PROMPT_IMAGE_RESPONSE}

    @classmethod
    def of_template(cls, template_type: int) -> DataFormat:
        """The format of v1's `templateType`.

        Raises:
            Invalid: There is none of that number.
        """
        for data_format in cls:  # the exact ones stand before those that borrow
            if data_format.numbers.template_type == template_type:
                return data_format
        known = sorted({numbers.template_type for numbers in _NUMBERS.values()})
        raise Invalid(
            f"templateType must be one of {', '.join(map(str, known))}, got {template_type}",
            param="templateType",
        )

    @classmethod
    def named(cls, name: str) -> DataFormat:
        """The format of v2's `dataFormat`, in any case.

        Raises:
            Invalid: There is none of that name.
        """
        for data_format in cls:
            if data_format.value.casefold() == name.casefold():
                return data_format
        raise Invalid(
            f"dataFormat must be one of {', '.join(item.value for item in cls)}, got {name[:64]!r}",
            param="dataFormat",
        )


_CONVERSATION = Numbers(20, 2000, 4)
_NUMBERS: Mapping[DataFormat, Numbers] = {
    DataFormat.PROMPT_RESPONSE: _CONVERSATION,
    DataFormat.ROLE: _CONVERSATION,
    DataFormat.SFT_FIM: _CONVERSATION,
    DataFormat.TEXT: Numbers(401, 40100, 4),
    DataFormat.DPO: Numbers(20, 2002, 4),
    DataFormat.KTO: Numbers(20, 2002, 4),
    DataFormat.SORTED: Numbers(20, 2001, 4),
    DataFormat.PROMPT: Numbers(402, 40200, 4),
    DataFormat.PROMPT_IMAGE: Numbers(705, 70500, 7),
    DataFormat.PROMPT_IMAGE_RESPONSE: Numbers(705, 70500, 7),
}


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question and what answers it.

    Attributes:
        prompt: What the user says.
        responses: What may be answered, the best first; none where nobody has annotated it yet.
    """

    prompt: str
    responses: tuple[str, ...] = ()


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation with roles.

    Attributes:
        role: One of `ROLES`.
        content: What it says.
        reasoning_content: What the model thought before it.
        loss_weight: How much it counts in training; None for the default.
    """

    role: str
    content: str
    reasoning_content: str = ""
    loss_weight: float | None = None


class Image(msgspec.Struct, frozen=True, omit_defaults=True):
    """A picture of a sample.

    Attributes:
        name: Path or file name under which it came.
        sha256: Its content among the blobs; "" where only its name (or its address) is known.
        size_bytes: How long that is.
    """

    name: str
    sha256: str = ""
    size_bytes: int = 0


class Sample(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One row. Which fields are used follows from the format:

    | format | fields |
    |---|---|
    | PromptResponse, PromptSortedresponses, Prompt | system, turns |
    | Role | messages |
    | DPO, KTO | system, turns (the last one has no responses), chosen, rejected |
    | SFT_FIM | prefix, suffix, middle |
    | Text | text |
    | PromptImage | images (one), turns (one with what the picture shows, none where nobody has said) |
    | PromptImageResponse | images, system, turns |

    Attributes:
        system: What the model is told beforehand.
        chosen: The response that is wanted; None for none (KTO has one of the two).
        rejected: The one that is not.
        extra: Fields that no format knows, such as where a row comes from.
    """

    system: str = ""
    turns: tuple[Turn, ...] = ()
    messages: tuple[Message, ...] = ()
    chosen: str | None = None
    rejected: str | None = None
    text: str = ""
    prefix: str = ""
    suffix: str = ""
    middle: str = ""
    images: tuple[Image, ...] = ()
    extra: dict[str, Any] = {}


_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(Sample)


def encode(sample: Sample) -> str:
    """A sample as canonical JSON, as shards hold it."""
    return _ENCODER.encode(sample).decode()


def encode_utf8(sample: Sample) -> bytes:
    """The same in UTF-8: what is written needs no text in between."""
    return _ENCODER.encode(sample)


def decode(text: str | bytes) -> Sample:
    """A sample from its canonical JSON."""
    return _DECODER.decode(text)


def parse(data_format: DataFormat, raw: object) -> Sample:
    """A row of a file (what its JSON says, or a dict of its columns) as a sample.

    Raises:
        BadSample: It is not of this format; the text says what to change.
    """
    return parse_encoded(data_format, raw)[0]


def parse_encoded(data_format: DataFormat, raw: object) -> tuple[Sample, bytes]:
    """A row of a file as `parse` reads it, and as `encode_utf8` writes it: it is written once to know its size anyway.

    Raises:
        BadSample: It is not of this format; the text says what to change.
    """
    sample = _PARSERS[data_format](raw)
    try:
        encoded = _ENCODER.encode(sample)
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError) as error:
        raise BadSample(f"the sample cannot be kept as JSON in UTF-8: {error}") from None
    if len(encoded) > MAX_SAMPLE_BYTES:
        raise BadSample(
            f"the sample has {len(encoded)} bytes, {MAX_SAMPLE_BYTES} are allowed; split it into several"
        )
    return sample, encoded


def render(data_format: DataFormat, sample: Sample) -> Any:
    """A sample as a line of jsonl holds it (D.7, "Data file formats"); `parse` reads it back to the same sample."""
    return _RENDERERS[data_format](sample)


def is_annotated(data_format: DataFormat, sample: Sample) -> bool:
    """Whether everything that a person could have added is there: the responses, or what the picture shows."""
    return annotation_of(data_format)(sample)


def annotation_of(data_format: DataFormat) -> Callable[[Sample], bool]:
    """`is_annotated` of one format, for who asks it of many samples."""
    return _ANNOTATED.get(data_format, _answered)


def _answered(sample: Sample) -> bool:
    return bool(sample.turns) and all(turn.responses for turn in sample.turns)


_ANNOTATED: Mapping[DataFormat, Callable[[Sample], bool]] = {
    DataFormat.PROMPT: lambda _sample: True,
    DataFormat.TEXT: lambda _sample: True,
    DataFormat.ROLE: lambda sample: sample.messages[-1].role == "assistant",
    DataFormat.DPO: lambda sample: None not in {sample.chosen, sample.rejected},
    DataFormat.KTO: lambda sample: {sample.chosen, sample.rejected} != {None},
    DataFormat.SFT_FIM: lambda sample: bool(sample.middle),
    DataFormat.PROMPT_IMAGE: lambda sample: bool(sample.turns),
}


def texts_of(sample: Sample) -> list[str]:
    """The texts of a sample in the order of `text_of`, empty ones left out: what operators change one by one."""
    if sample.text:
        return [sample.text]
    found = [sample.system]
    for turn in sample.turns:
        found.append(turn.prompt)
        found += turn.responses
    for message in sample.messages:
        found += (message.reasoning_content, message.content)
    found += (
        sample.chosen or "",
        sample.rejected or "",
        sample.prefix,
        sample.middle,
        sample.suffix,
    )
    return [text for text in found if text]


def with_texts(sample: Sample, texts: Iterable[str]) -> Sample:
    """The sample with other texts in place of those of `texts_of`; pictures and `extra` stay."""
    given = iter(texts)

    def each(text: str) -> str:
        return next(given) if text else text

    if sample.text:
        return msgspec.structs.replace(sample, text=each(sample.text))
    # Keyword arguments are worked out in the order in which they stand.
    return Sample(
        system=each(sample.system),
        turns=tuple(
            Turn(each(turn.prompt), tuple(map(each, turn.responses))) for turn in sample.turns
        ),
        messages=tuple(
            msgspec.structs.replace(
                message,
                reasoning_content=each(message.reasoning_content),
                content=each(message.content),
            )
            for message in sample.messages
        ),
        chosen=None if sample.chosen is None else each(sample.chosen),
        rejected=None if sample.rejected is None else each(sample.rejected),
        prefix=each(sample.prefix),
        middle=each(sample.middle),
        suffix=each(sample.suffix),
        images=sample.images,
        extra=sample.extra,
    )


def text_of(sample: Sample) -> str:
    """All that a sample says, one thing under another: what operators, statistics and searches look at."""
    return "\n".join(texts_of(sample))


def messages_of(sample: Sample) -> tuple[Message, ...]:
    """A conversation as messages, the best response of each turn in it; for DPO and KTO what stands before the last response."""
    if sample.messages:
        return sample.messages
    found = [Message("system", sample.system)] if sample.system else []
    for turn in sample.turns:
        found.append(Message("user", turn.prompt))
        if turn.responses:
            found.append(Message("assistant", turn.responses[0]))
    return tuple(found)


# Reading

_PROMPT_KEYS = ("prompt", "user", "instruction", "query", "question")
_RESPONSE_KEYS = ("response", "assistant", "output", "completion", "answer")
_MESSAGE_KEYS = ("messages", "conversations")
_TEXT_KEYS = ("text", "content")
_IMAGE_KEYS = ("images", "image", "image_path")
_ROLE_OF = {"human": "user", "gpt": "assistant", "bot": "assistant"}


class _Fields:
    """The fields of an object, and which of them have been used."""

    def __init__(self, raw: object, place: str = "") -> None:
        if not isinstance(raw, dict):
            raise BadSample(f"{place or 'the row'} must be an object, got {_kind(raw)}")
        self._raw = cast("dict[str, Any]", raw)
        self._used: set[str] = set()
        self._place = f"{place}: " if place else ""

    def take(self, *keys: str) -> Any:
        """The first of several spellings that has a value, else None."""
        for key in keys:
            if self._raw.get(key) is not None:
                self._used.add(key)
                return self._raw[key]
        return None

    def drop(self, *keys: str) -> None:
        """Forget fields that have been read."""
        self._raw = {key: value for key, value in self._raw.items() if key not in keys}

    def has(self, key: str) -> bool:
        """Whether there is a field of that name."""
        return key in self._raw

    def text(self, *keys: str, required: bool = False, blank: bool = False) -> str:
        """A text.

        Raises:
            BadSample: It is none, or there is none although there must be.
        """
        value = self.take(*keys)
        if value is None:
            if required:
                raise BadSample(
                    f"{self._place}the field {keys[0]!r} is missing; fields found: {self.names()}"
                )
            return ""
        text = self._one(value, keys[0])
        if required and not blank and not text.strip():
            raise BadSample(
                f"{self._place}{keys[0]!r} is empty; write something or leave the row out"
            )
        return text

    def optional_text(self, *keys: str) -> str | None:
        """A text with something in it, or None."""
        return self.text(*keys) or None

    def responses(self, *keys: str) -> tuple[str, ...]:
        """Responses: ``"a"``, ``["a", "b"]`` or ``[["a"], ["b"]]``.

        Raises:
            BadSample: They are something else.
        """
        value = self.take(*keys)
        if value is None:
            return ()
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        found = [self._one(item, keys[0]) for item in items if item is not None and item != []]
        return tuple(item for item in found if item)

    def rest(self) -> dict[str, Any]:
        """What nobody used."""
        return {
            key: value
            for key, value in self._raw.items()
            if key not in self._used and value is not None
        }

    def names(self) -> str:
        """Which fields there are, for people."""
        return ", ".join(repr(key[:40]) for key in list(self._raw)[:12]) or "none"

    def _one(self, value: Any, key: str) -> str:
        if isinstance(value, str):
            return value
        nested: list[Any] = [value]
        while len(nested) == 1 and isinstance(nested[0], list):
            nested = cast("list[Any]", nested[0])
        value = nested[0] if len(nested) == 1 else nested
        if isinstance(value, str):
            return value
        raise BadSample(
            f"{self._place}{key!r} must be text, got {_kind(value)}; put it into quotes"
        )


def _kind(value: object) -> str:
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "text"),
        (list, "a list"),
        (dict, "an object"),
    )
    if value is None:
        return "null"
    return next((name for kind, name in kinds if isinstance(value, kind)), "something else")


def _elements(raw: object) -> list[_Fields]:
    """The turns of a row: an array of objects, or one object."""
    if not isinstance(raw, list):
        return [_Fields(raw)]
    items = cast("list[object]", raw)
    if not items:
        raise BadSample('the row is an empty list; write at least one turn, [{"prompt": "…"}]')
    return [_Fields(item, f"turn {number}") for number, item in enumerate(items, 1)]


def _extra(elements: Sequence[_Fields]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for element in elements:
        found |= element.rest()
    given = found.pop("extra", None)
    if isinstance(given, dict):
        return found | cast("dict[str, Any]", given)
    return found if given is None else found | {"extra": given}


def _messages(raw: object) -> list[Message] | None:
    """The messages of a row that is written with roles; None if it is not."""
    if isinstance(raw, dict):
        row = cast("dict[str, Any]", raw)
        raw = None
        for key in _MESSAGE_KEYS:
            raw = raw or row.get(key)
    if not isinstance(raw, list) or not raw:
        return None
    items = cast("list[object]", raw)
    if not all(isinstance(item, dict) and ("role" in item or "from" in item) for item in items):
        return None
    found: list[Message] = []
    for number, item in enumerate(items, 1):
        fields = _Fields(item, f"message {number}")
        role = fields.text("role", "from", required=True)
        role = _ROLE_OF.get(role, role)
        if role not in ROLES:
            raise BadSample(
                f"message {number}: role must be one of {', '.join(ROLES)}, got {role[:40]!r}"
            )
        content = fields.text("content", "value", required=role in {"user", "system"})
        weight = fields.take("loss_weight")
        if weight is not None and (
            isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1
        ):
            raise BadSample(f"message {number}: loss_weight must be a number in [0, 1]")
        found.append(
            Message(
                role,
                content,
                fields.text("reasoning_content"),
                None if weight is None else float(weight),
            )
        )
    _check_order(found)
    return found


def _check_order(messages: Sequence[Message]) -> None:
    spoken = [message for message in messages if message.role != "system"]
    if not spoken or spoken[0].role != "user":
        raise BadSample("the first message behind those of the system must be the user's")
    for number, message in enumerate(messages[1:], 2):
        if message.role == "system":
            raise BadSample(f"message {number}: the system's message must be the first")
        if message.role == messages[number - 2].role == "user":
            raise BadSample(
                f"message {number}: two of the user's messages follow one another; join them or put an answer between"
            )


def _turns_of(messages: Sequence[Message]) -> tuple[str, list[Turn]]:
    """Messages as turns.

    Raises:
        BadSample: There are messages of tools, which turns have no place for.
    """
    system = "\n".join(message.content for message in messages if message.role == "system")
    turns: list[Turn] = []
    for message in messages:
        if message.role == "user":
            turns.append(Turn(message.content))
        elif message.role == "assistant":
            turns[-1] = Turn(turns[-1].prompt, (message.content,) if message.content else ())
        elif message.role != "system":
            raise BadSample(
                f"a message of role {message.role!r} has no place in turns; use the data format Role"
            )
    return system, turns


def _message_extra(raw: object) -> dict[str, Any]:
    if not isinstance(raw, dict):
        return {}
    fields = _Fields(cast("object", raw))
    fields.take(*_MESSAGE_KEYS)
    return _extra([fields])


def _one_plain_turn(raw: object) -> Sample | None:
    """What nearly all rows are, read in a fraction of the time: a prompt and a response under their own names; None if it is not that."""
    if isinstance(raw, list):
        items = cast("list[object]", raw)
        raw = items[0] if len(items) == 1 else None
    if not isinstance(raw, dict):
        return None
    row = cast("dict[str, Any]", raw)
    prompt, said = row.get("prompt"), row.get("response")
    for _ in range(2):
        if isinstance(said, list):
            answers = cast("list[Any]", said)
            said = answers[0] if len(answers) == 1 else None
    if not isinstance(prompt, str) or not isinstance(said, str) or not prompt.strip():
        return None
    if not _NOT_PLAIN.isdisjoint(row):
        return None
    extra = {
        name: value
        for name, value in row.items()
        if value is not None and name not in {"prompt", "response"}
    }
    return Sample(turns=(Turn(prompt, (said,) if said else ()),), extra=extra)


_NOT_PLAIN = frozenset({*_MESSAGE_KEYS, "system", "instruction", "extra"})
"""Names of fields that say more than one turn, or are read beside it."""


def _conversation(raw: object, *, ranked: bool) -> Sample:
    if (plain := _one_plain_turn(raw)) is not None:
        return plain
    messages = _messages(raw)
    if messages is not None:
        system, turns = _turns_of(messages)
        return Sample(system=system, turns=tuple(turns), extra=_message_extra(raw))
    elements = _elements(raw)
    system, turns = _read_turns(elements)
    if not ranked:
        for number, turn in enumerate(turns, 1):
            if len(turn.responses) > 1:
                raise BadSample(
                    f"turn {number} has {len(turn.responses)} responses, this format has one;"
                    f" use the data format {DataFormat.SORTED.value} to rank several"
                )
    return Sample(system=system, turns=tuple(turns), extra=_extra(elements))


def _read_turns(elements: Sequence[_Fields]) -> tuple[str, list[Turn]]:
    system, turns = "", list[Turn]()
    for number, element in enumerate(elements, 1):
        said = element.text("system")
        if said and number > 1:
            raise BadSample(f"turn {number}: 'system' belongs into the first turn")
        system = system or said
        prompt = element.text(*_PROMPT_KEYS, required=True)
        if element.has("instruction") and (more := element.text("input")):
            prompt = f"{prompt}\n{more}"
        turns.append(Turn(prompt, element.responses(*_RESPONSE_KEYS)))
    return system, turns


def _role(raw: object) -> Sample:
    messages = _messages(raw)
    if messages is not None:
        return Sample(messages=tuple(messages), extra=_message_extra(raw))
    if isinstance(raw, dict) and not {*_MESSAGE_KEYS}.isdisjoint(cast("dict[str, Any]", raw)):
        raise BadSample(
            '\'messages\' must be a list of objects such as {"role": "user", "content": "…"}'
        )
    sample = _conversation(cast("object", raw), ranked=False)
    return Sample(messages=messages_of(sample), extra=sample.extra)


def _preference(raw: object, *, both: bool) -> Sample:
    elements = _elements(raw)
    last = elements[-1]
    chosen, rejected = last.optional_text("chosen"), last.optional_text("rejected")
    if not both and chosen is None and rejected is None:
        chosen, rejected = _labelled(last)
    if both and (chosen is None or rejected is None):
        raise BadSample(f"'chosen' and 'rejected' must both be there; fields found: {last.names()}")
    if chosen is None and rejected is None:
        raise BadSample(f"'chosen' or 'rejected' must be there; fields found: {last.names()}")
    messages = _messages(last.take("prompt"))
    if messages is None:
        system, turns = _read_turns(elements)
    else:
        system, turns = _turns_of(messages)
    if turns[-1].responses:
        raise BadSample("the last turn has a response beside 'chosen' or 'rejected'; leave it out")
    for number, turn in enumerate(turns[:-1], 1):
        if len(turn.responses) != 1:
            raise BadSample(f"turn {number} must have one response, it has {len(turn.responses)}")
    return Sample(
        system=system,
        turns=tuple(turns),
        chosen=chosen,
        rejected=rejected,
        extra=_extra(elements),
    )


def _labelled(fields: _Fields) -> tuple[str | None, str | None]:
    """KTO as others write it: one completion, and whether it is wanted."""
    label = fields.take("label")
    if label is None:
        return None, None
    if not isinstance(label, bool):
        raise BadSample(f"'label' must be true or false, got {_kind(label)}")
    spellings = ("completion", "response", "output")
    text = fields.text(*spellings, required=True)
    fields.drop(*spellings)
    return (text, None) if label else (None, text)


def _fill_in(raw: object) -> Sample:
    (fields,) = _single(raw)
    sample = Sample(
        prefix=fields.text("prefix"),
        suffix=fields.text("suffix"),
        middle=fields.text("middle", required=True, blank=True),
        extra=fields.rest(),
    )
    if not sample.middle:
        raise BadSample("'middle' is empty; write what is to be filled in")
    if not sample.prefix and not sample.suffix:
        raise BadSample("'prefix' and 'suffix' are both empty; one of them must say something")
    return sample


def _text(raw: object) -> Sample:
    if isinstance(raw, str):
        text, extra = raw, dict[str, Any]()
    else:
        (fields,) = _single(raw)
        text, extra = fields.text(*_TEXT_KEYS, required=True, blank=True), fields.rest()
    if not text.strip():
        raise BadSample("the text is empty; leave the row out")
    return Sample(text=text, extra=extra)


def _prompt(raw: object) -> Sample:
    if isinstance(raw, str):
        raw = {"prompt": raw}
    elements = _elements(raw)
    system, turns = _read_turns(elements)
    if any(turn.responses for turn in turns[:-1]) or len(turns) == 1 or not turns[-1].responses:
        # A query set may bring reference answers, which evaluations compare with.
        return Sample(system=system, turns=tuple(turns), extra=_extra(elements))
    raise BadSample("only the last turn has a response; use the data format PromptResponse")


def _picture(raw: object) -> Sample:
    (fields,) = _single(raw)
    images = _images(fields, "the row")
    if len(images) != 1:
        raise BadSample(f"a text-to-image pair has one image, this row has {len(images)}")
    caption = fields.text("annotations", "annotation", *_PROMPT_KEYS, "text", "caption")
    return Sample(images=images, turns=(Turn(caption),) if caption else (), extra=fields.rest())


def _picture_talk(raw: object) -> Sample:
    elements = _elements(raw)
    images = tuple(
        image
        for number, element in enumerate(elements, 1)
        for image in _images(element, f"turn {number}")
    )
    if not images:
        raise BadSample(f"'image' is missing; fields found: {elements[0].names()}")
    system, turns = _read_turns(elements)
    return Sample(system=system, images=images, turns=tuple(turns), extra=_extra(elements))


def _images(fields: _Fields, place: str) -> tuple[Image, ...]:
    value = fields.take(*_IMAGE_KEYS)
    if value is None:
        return ()
    items = cast("list[object]", value) if isinstance(value, list) else [cast("object", value)]
    found: list[Image] = []
    for item in items:
        try:
            image = Image(item) if isinstance(item, str) else msgspec.convert(item, Image)
        except msgspec.ValidationError:
            raise BadSample(
                f"{place}: an image must be the name of a file, got {_kind(item)}"
            ) from None
        if not image.name:
            raise BadSample(f"{place}: the name of an image is empty")
        found.append(image)
    return tuple(found)


def _single(raw: object) -> list[_Fields]:
    elements = _elements(raw)
    if len(elements) > 1:
        raise BadSample(f"the row must be one object, got a list of {len(elements)}")
    return elements


_PARSERS: Mapping[DataFormat, Callable[[object], Sample]] = {
    DataFormat.PROMPT_RESPONSE: lambda raw: _conversation(raw, ranked=False),
    DataFormat.SORTED: lambda raw: _conversation(raw, ranked=True),
    DataFormat.ROLE: _role,
    DataFormat.SFT_FIM: _fill_in,
    DataFormat.TEXT: _text,
    DataFormat.DPO: lambda raw: _preference(raw, both=True),
    DataFormat.KTO: lambda raw: _preference(raw, both=False),
    DataFormat.PROMPT: _prompt,
    DataFormat.PROMPT_IMAGE: _picture,
    DataFormat.PROMPT_IMAGE_RESPONSE: _picture_talk,
}


# Writing


def _turn_rows(sample: Sample, prompt: str = "prompt", response: str = "") -> list[dict[str, Any]]:
    """Turns as objects; with `response` a name, the one response stands there as text, else as ``[["…"], …]``."""
    rows: list[dict[str, Any]] = []
    for turn in sample.turns:
        row: dict[str, Any] = {prompt: turn.prompt}
        if turn.responses and response:
            row[response] = turn.responses[0]
        elif turn.responses:
            row["response"] = [[text] for text in turn.responses]
        rows.append(row)
    if rows and sample.system:
        rows[0] = {"system": sample.system, **rows[0]}
    return rows


def _with_extra(rows: list[dict[str, Any]], sample: Sample) -> list[dict[str, Any]]:
    rows[-1] |= sample.extra
    return rows


def _conversation_row(sample: Sample) -> Any:
    rows = _with_extra(_turn_rows(sample), sample)
    if len(rows) == 1 and "completion" in sample.extra:
        # An evaluation's answer: the published package reads these rows as objects.
        return {"response": [], **rows[0]}
    return rows


def _role_row(sample: Sample) -> Any:
    return {"messages": [*map(msgspec.to_builtins, sample.messages)], **sample.extra}


def _dpo_row(sample: Sample) -> Any:
    rows = _turn_rows(sample)
    rows[-1] |= {"chosen": sample.chosen, "rejected": sample.rejected, **sample.extra}
    return rows[0] if len(rows) == 1 else rows


def _kto_row(sample: Sample) -> Any:
    rows = _turn_rows(sample, "user", "assistant")
    said = {"chosen": sample.chosen, "rejected": sample.rejected}
    rows[-1] |= {name: text for name, text in said.items() if text is not None} | sample.extra
    return rows


def _fill_in_row(sample: Sample) -> Any:
    return {
        "prefix": sample.prefix,
        "suffix": sample.suffix,
        "middle": sample.middle,
        **sample.extra,
    }


def _picture_row(sample: Sample) -> Any:
    row: dict[str, Any] = {"image": _image_row(sample.images[0])}
    if sample.turns:
        row["annotations"] = sample.turns[0].prompt
    return row | sample.extra


def _picture_talk_row(sample: Sample) -> Any:
    rows = _turn_rows(sample)
    rows[0]["image"] = [_image_row(image) for image in sample.images]
    return _with_extra(rows, sample)


def _image_row(image: Image) -> Any:
    return msgspec.to_builtins(image) if image.sha256 else image.name


_RENDERERS: Mapping[DataFormat, Callable[[Sample], Any]] = {
    DataFormat.PROMPT_RESPONSE: _conversation_row,
    DataFormat.SORTED: _conversation_row,
    DataFormat.PROMPT: _conversation_row,
    DataFormat.ROLE: _role_row,
    DataFormat.SFT_FIM: _fill_in_row,
    DataFormat.TEXT: lambda sample: {"text": sample.text, **sample.extra},
    DataFormat.DPO: _dpo_row,
    DataFormat.KTO: _kto_row,
    DataFormat.PROMPT_IMAGE: _picture_row,
    DataFormat.PROMPT_IMAGE_RESPONSE: _picture_talk_row,
}
