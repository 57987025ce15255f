"""The meter of one call: what it reserved in every bucket and quota, and what it used in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.server.usage.buckets import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yangfan.server.http import Metered
    from yangfan.server.usage.account import Account, Lane
    from yangfan.server.usage.buckets import Bucket
    from yangfan.server.usage.ledger import Ledger
    from yangfan.server.usage.rates import Rates

Header = tuple[bytes, bytes]

GENEROUS_REQUESTS_PER_MINUTE = 1_000_000
GENEROUS_TOKENS_PER_MINUTE = 1_000_000_000
"""What the rate-limit headers say where nothing is limited: official clients throttle themselves to 90 % of them."""

SHARE = 4
"""Calls that do not say how long their answer may be reserve one in so many tokens of a limit, so that as many fit at a time."""


class AccountMeter:
    """The limits and the usage of one call (`yangfan.server.http.Meter`).

    Args:
        account: The key's account.
        rates: All buckets.
        ledger: Where usage is booked.
    """

    __slots__ = (
        "_account",
        "_booked",
        "_held",
        "_lane",
        "_ledger",
        "_model",
        "_rates",
        "_used",
        "reserved",
    )

    def __init__(self, account: Account, rates: Rates, ledger: Ledger) -> None:
        self._account = account
        self._rates = rates
        self._ledger = ledger
        self._lane = account.own
        self._model = ""
        self._held = 0
        self._used = (0, 0)
        self.reserved = self._booked = False

    def answer_tokens(self, target: Metered, prompt_tokens: int) -> int | None:
        """How long answers may become where the caller does not say: a quarter of a minute's tokens, all of a quota's."""
        lane, quotas = self._rates.lane(self._account, target.model), self._account.quotas
        if not lane.tokens and not quotas:
            return None
        rooms = [(bucket.limit - prompt_tokens) // SHARE for bucket in lane.tokens]
        rooms += [quota.left(self._ledger.today) - prompt_tokens for quota in quotas]
        return max(min(rooms), 1)

    def reserve(self, target: Metered, tokens: int) -> None:
        """Take one request and `tokens` from every limit, or from none.

        Raises:
            ModelForbidden: The key may not use this model.
            RateLimited: A limit has no room now.
            QuotaExceeded: The key's tokens are used up.
        """
        assert not self.reserved, "a call reserves once"
        refusal = self._refusal(target, tokens)
        if refusal is not None:
            raise refusal
        self._take(1, tokens)
        for quota in self._account.quotas:
            quota.hold(tokens)
        self._model, self._held, self.reserved = target.model, tokens, True

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Book what was used so far, and give back what was reserved beyond; a later call books what came on top."""
        before_prompt, before_completion = self._used
        prompt = max(prompt_tokens - before_prompt, 0)
        completion = max(completion_tokens - before_completion, 0)
        if self._booked and not prompt and not completion:
            return
        self._release(self._held, prompt + completion)
        requests = 0 if self._booked else 1
        self._held, self._booked = 0, True
        self._used = (before_prompt + prompt, before_completion + completion)
        self._ledger.record(self._account.key_id, self._model, requests, prompt, completion)

    def close(self) -> None:
        """The call is over. If nothing was settled, give back all that was reserved."""
        if self.reserved and not self._booked:
            now_ns = self._rates.now_ns()
            for bucket in (*self._lane.seconds, *self._lane.requests):
                bucket.give_back(1, now_ns)
            self._release(self._held, 0)
            self._held, self.reserved = 0, False

    def headers(self) -> tuple[Header, ...]:
        """The X-Ratelimit headers of the tightest limits, as they stand now."""
        lane = self._lane
        if not lane.requests and not lane.tokens:
            return _GENEROUS
        now_ns = self._rates.now_ns()
        requests, requests_left = _tightest(lane.requests, GENEROUS_REQUESTS_PER_MINUTE, now_ns)
        tokens, tokens_left = _tightest(lane.tokens, GENEROUS_TOKENS_PER_MINUTE, now_ns)
        return _headers(requests, tokens, requests_left, tokens_left)

    def _refusal(self, target: Metered, tokens: int) -> errors.RefusedError | None:
        account = self._account
        allowed = account.limits.models
        if allowed is not None and allowed.isdisjoint(target.spellings):
            return errors.ModelForbidden(
                f"the key may call {', '.join(sorted(allowed))}, not {target.model}; use one of these or another key"
            )
        lane = self._lane = self._rates.lane(account, target.model)
        return self._quota_refusal(tokens) or _rate_refusal(lane, tokens, self._rates)

    def _quota_refusal(self, tokens: int) -> errors.QuotaExceeded | None:
        if not self._account.quotas:
            return None
        today = self._ledger.today
        total, daily = self._account.total, self._account.daily
        if total is not None and total.left(today) < tokens:
            return errors.TotalQuotaExceeded(
                f"{_left(total.left(today), total.limit, tokens)} or use another key"
            )
        if daily is not None and daily.left(today) < tokens:
            return errors.QuotaExceeded(
                f"{_left(daily.left(today), daily.limit, tokens)} or wait for the next day (UTC)"
            )
        return None

    def _take(self, requests: int, tokens: int) -> None:
        for bucket in (*self._lane.seconds, *self._lane.requests):
            bucket.take(requests)
        for bucket in self._lane.tokens:
            bucket.take(tokens)

    def _release(self, held: int, used: int) -> None:
        if self._lane.tokens:
            now_ns = self._rates.now_ns()
            for bucket in self._lane.tokens:
                bucket.give_back(held - used, now_ns)
        for quota in self._account.quotas:
            quota.release(held, used, self._ledger.today)


def _rate_refusal(lane: Lane, tokens: int, rates: Rates) -> errors.RateLimited | None:
    """The limit that has room last, so that a caller who waits for it is not refused by another."""
    if not (lane.seconds or lane.requests or lane.tokens):
        return None
    for bucket in lane.tokens:
        if tokens > bucket.limit:
            return errors.TokenRateLimited(
                f"this call may need {tokens} tokens and the limit is {bucket.limit} a minute;"
                " shorten the prompt or lower max_output_tokens"
            )
    now_ns = rates.now_ns()
    longest_ns, refusal = 0, None
    for kind, unit, units, buckets in (
        (errors.RateLimited, "requests a second", 1, lane.seconds),
        (errors.RequestRateLimited, "requests a minute", 1, lane.requests),
        (errors.TokenRateLimited, "tokens a minute", tokens, lane.tokens),
    ):
        for bucket in buckets:
            wait_ns = bucket.wait_ns(units, now_ns)
            if wait_ns > longest_ns:
                longest_ns = wait_ns
                refusal = kind(
                    f"the limit is {bucket.limit} {unit}, {bucket.remaining(now_ns)} are left and this call may need {units};"
                    f" try again in {-(-wait_ns // SECOND_NS)} s",
                    retry_after_seconds=wait_ns / SECOND_NS,
                )
    return refusal


def _left(left: int, limit: int, tokens: int) -> str:
    return (
        f"{max(left, 0)} of the key's {limit} tokens are left and this call may need {tokens};"
        " shorten the prompt, lower max_output_tokens"
    )


def _tightest(buckets: Iterable[Bucket], generous: int, now_ns: int) -> tuple[int, int]:
    return min(
        ((bucket.limit, bucket.remaining(now_ns)) for bucket in buckets),
        key=lambda pair: pair[1],
        default=(generous, generous),
    )


def _headers(
    requests: int, tokens: int, requests_left: int, tokens_left: int
) -> tuple[Header, ...]:
    return (
        (b"X-Ratelimit-Limit-Requests", b"%d" % requests),
        (b"X-Ratelimit-Limit-Tokens", b"%d" % tokens),
        (b"X-Ratelimit-Remaining-Requests", b"%d" % requests_left),
        (b"X-Ratelimit-Remaining-Tokens", b"%d" % tokens_left),
    )


_GENEROUS = _headers(
    GENEROUS_REQUESTS_PER_MINUTE,
    GENEROUS_TOKENS_PER_MINUTE,
    GENEROUS_REQUESTS_PER_MINUTE,
    GENEROUS_TOKENS_PER_MINUTE,
)
