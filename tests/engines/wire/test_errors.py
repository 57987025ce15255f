import pytest

from yangfan.engines.wire.errors import refusal
from yangfan.errors import ContextTooLong, EngineFailed, Invalid, Overloaded, RefusedError


@pytest.mark.parametrize(
    ("status", "body", "error", "text"),
    [
        (
            400,
            b'{"error":{"message":"Field n","type":"invalid_request_error"}}',
            Invalid,
            "Field n",
        ),
        (422, b'{"error":{"message":"bad"}}', Invalid, "bad"),
        (
            400,
            b'{"error":{"type":"exceed_context_size_error","message":"m","n_prompt_tokens":40031,"n_ctx":8192}}',
            ContextTooLong,
            "40031 tokens and the model takes 8192",
        ),
        (
            401,
            b'{"error":{"message":"Invalid API Key","code":401}}',
            EngineFailed,
            "Invalid API Key",
        ),
        (404, b'{"error":{"message":"File Not Found"}}', EngineFailed, "File Not Found"),
        (
            500,
            b'{"error":{"message":"image input is not supported - hint: mmproj"}}',
            Invalid,
            "images",
        ),
        (
            500,
            b'{"error":{"message":"input (602 tokens) is too large to process. increase the physical batch size (current batch size: 512)"}}',
            ContextTooLong,
            "602 tokens and the model takes 512",
        ),
        (500, b'{"error":{"message":"Compute error."}}', EngineFailed, "Compute error"),
        (
            503,
            b'{"error":{"message":"Loading model","type":"unavailable_error"}}',
            Overloaded,
            "Loading",
        ),
        (502, b"<html>", EngineFailed, "502"),
        (500, b'{"error":"text"}', EngineFailed, "500"),
        (500, b"\xff\xfe", EngineFailed, "500"),
        (500, b"", EngineFailed, "500"),
    ],
)
def test_a_refusal_becomes_the_exception_it_means(
    status: int, body: bytes, error: type[RefusedError], text: str
) -> None:
    refused = refusal(status, body)
    assert type(refused) is error
    assert text in refused.message
