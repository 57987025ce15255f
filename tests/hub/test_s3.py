"""Signatures against the examples that Amazon publishes, and the client against a server that checks them."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.hub.s3_server import Store, serving

from yangfan.egress import Egress
from yangfan.errors import ConfigurationError, SourceUnavailable
from yangfan.hub.http import Gone
from yangfan.hub.s3 import S3, S3Settings, split

EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def s3() -> Generator[Store]:
    with serving() as store:
        yield store


@pytest.mark.parametrize(
    ("method", "path", "headers", "payload", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {"range": "bytes=0-9"},
            EMPTY,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/?lifecycle=",
            {},
            EMPTY,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            {},
            EMPTY,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_published_examples(
    method: str, path: str, headers: dict[str, str], payload: str, signature: str
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Examples: Signature Calculations"."""
    settings = S3Settings(
        access_key_id="AKIAIOSFODNN7EXAMPLE",
        secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    client = S3(Egress(), settings, now=lambda: datetime(2013, 5, 24, tzinfo=UTC))
    fields = client.signed(
        method, f"https://examplebucket.s3.amazonaws.com{path}", payload, headers
    )
    assert fields["authorization"].endswith(f"Signature={signature}")
    assert "20130524/us-east-1/s3/aws4_request" in fields["authorization"]


async def test_objects_are_listed_page_by_page_and_read(
    s3: Store, egress: Egress, tmp_path: Path
) -> None:
    s3.page_size = 2
    for name in ("a/1", "a/2 ü&+", "a/3", "b/1"):
        s3.objects[name] = name.encode()
    client = S3(egress, s3.settings)
    found = await client.list("models", "a/")
    assert [item.key for item in found] == ["a/1", "a/2 ü&+", "a/3"]
    await client.get("models", found[1], tmp_path / "part", lambda done: None)
    assert (tmp_path / "part").read_bytes() == "a/2 ü&+".encode()


async def test_a_large_object_is_written_in_parts(s3: Store, egress: Egress) -> None:
    client = S3(egress, s3.settings)
    upload = await client.begin("models", "big")
    etags = [await client.put_part("models", "big", upload, n, bytes([n]) * 10) for n in (1, 2)]
    await client.finish("models", "big", upload, etags)
    assert s3.objects["big"] == b"\x01" * 10 + b"\x02" * 10
    upload = await client.begin("models", "big")
    await client.put_part("models", "big", upload, 1, b"x")
    with pytest.raises(SourceUnavailable, match="InvalidPart"):
        await client.finish("models", "big", upload, ['"other"'])
    upload = await client.begin("models", "big")
    await client.abandon("models", "big", upload)
    assert upload not in s3.uploads


async def test_refusals_say_what_to_check_and_no_secret(s3: Store, egress: Egress) -> None:
    wrong = msgspec.structs.replace(s3.settings, secret_access_key="another-s3cret")
    with pytest.raises(
        Gone, match=r"check bucket, keys and region.*SignatureDoesNotMatch"
    ) as refused:
        await S3(egress, wrong).list("models", "a")
    assert "s3cret" not in refused.value.message
    assert "s3cret" not in repr(wrong)
    with pytest.raises(Gone, match="NoSuchBucket"):
        await S3(egress, s3.settings).list("others", "a")
    with pytest.raises(ConfigurationError, match="name of a bucket"):
        await S3(egress, s3.settings).list("..", "a")
    s3.failures = [503]
    with pytest.raises(SourceUnavailable, match="SlowDown later"):
        await S3(egress, s3.settings).put("models", "a", b"")
    anonymous = S3(egress, S3Settings(endpoint=s3.settings.endpoint))
    with pytest.raises(Gone, match="403"):
        await anonymous.put("models", "a", b"x")


def test_addresses_are_taken_apart() -> None:
    assert split("bucket/a/b") == split("//bucket/a/b") == ("bucket", "a/b")
    assert split("bucket") == ("bucket", "")
