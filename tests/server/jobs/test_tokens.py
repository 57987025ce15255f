"""A worker's token opens one job at one fence, for a while."""

from __future__ import annotations

import pytest

from yangfan.errors import TokenExpired, TokenInvalid
from yangfan.server.jobs.tokens import LIFETIME_SECONDS, JobMint

JOB = "jb-0123456789abcdef"


def test_a_token_opens_its_job_at_its_fence():
    assert JobMint(b"k").read(JobMint(b"k").issue(JOB, 7)) == (JOB, 7, "", "")
    claimed = JobMint(b"k").read(JobMint(b"k").issue(JOB, 7, "app-1/测试", "count"))
    assert (claimed.account, claimed.kind) == ("app-1/测试", "count")


def test_a_token_that_was_changed_or_made_elsewhere_opens_nothing():
    token = JobMint(b"k").issue(JOB, 7)
    parts = token.split(".")
    for changed in (
        "",
        token[:-1],
        token.replace(".7.", ".8."),
        token.replace("jb-0", "jb-1"),
        ".".join([*parts[:3], str(int(parts[3]) + 1), *parts[4:]]),
        ".".join([*parts[:4], b"app".hex(), parts[5]]),
        JobMint(b"other").issue(JOB, 7),
    ):
        with pytest.raises(TokenInvalid):
            JobMint(b"k").read(changed)


def test_a_token_ends():
    token = JobMint(b"k", clock=lambda: 1000.0).issue(JOB, 1)
    later = JobMint(b"k", clock=lambda: 1000.0 + LIFETIME_SECONDS)
    with pytest.raises(TokenExpired, match="tried again"):
        later.read(token)


def test_a_mint_shows_no_secret():
    assert repr(JobMint(b"canary")) == "JobMint()"
