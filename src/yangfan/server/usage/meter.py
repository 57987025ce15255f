"""The meter of one call: what it reserved in every bucket and quota, and what it used in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.server.usage.buckets import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yangfan.server.http import Metered
    from yangfan.server.usage.account import Account
    from yangfan.server.usage.buckets import Bucket
    from yangfan.server.usage.lanes import Lane, Lanes
    from yangfan.server.usage.ledger import Ledger

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
        lanes: All buckets.
        ledger: Where usage is booked.
        clock_ns: Nanoseconds of the buckets' clock.
    """

    __slots__ = (
        "_account",
        "_booked",
        "_clock_ns",
        "_completion_tokens",
        "_held",
        "_lane",
        "_lanes",
        "_ledger",
        "_prompt_tokens",
        "model",
        "reserved",
    )

    def __init__(
        self, account: Account, lanes: Lanes, ledger: Ledger, clock_ns: Callable[[], int]
    ) -> None:
        self._account = account
        self._lanes = lanes
        self._ledger = ledger
        self._clock_ns = clock_ns
        self._lane = account.own
        self.model = ""
        self._held = self._prompt_tokens = self._completion_tokens = 0
        self.reserved = self._booked = False

    @property
    def key_id(self) -> str:
        """Id of the caller's key."""
        return self._account.key_id

    @property
    def used(self) -> tuple[int, int]:
        """Tokens of the prompt and of the answer, as booked so far."""
        return self._prompt_tokens, self._completion_tokens

    def answer_tokens(self, target: Metered, prompt_tokens: int) -> int | None:
        """How long answers may become where the caller does not say: a quarter of a minute's tokens, all of a quota's."""
        lane, quotas = self._lane_to(target), self._account.quotas
        if not lane.tokens and not quotas:
            return None
        rooms = [(bucket.limit - prompt_tokens) // SHARE for bucket in lane.tokens]
        rooms += [quota.left(self._ledger.today) + self._held - prompt_tokens for quota in quotas]
        return max(min(rooms), 1)

    def spares(self, target: Metered, tokens: int) -> bool:
        """Whether every limit on tokens has room for four calls of this size."""
        lane, quotas = self._lane_to(target), self._account.quotas
        if not lane.tokens and not quotas:
            return True
        now_ns, several = self._clock_ns(), SHARE * tokens
        if any(bucket.wait_ns(several, now_ns) for bucket in lane.tokens):
            return False
        return all(quota.left(self._ledger.today) >= several for quota in quotas)

    def reserve(self, target: Metered, tokens: int) -> None:
        """Take one request and `tokens` from every limit, or from none; a later call takes the place of an earlier one.

        Once something was booked, the call goes on with another answer, of another model maybe: it takes further tokens, and no further request.

        Raises:
            ModelForbidden: The key may not use this model.
            RateLimited: A limit has no room now.
            QuotaExceeded: The key's tokens are used up.
        """
        account = self._account
        allowed = account.limits.models
        if allowed is not None and allowed.isdisjoint(target.spellings):
            raise errors.ModelForbidden(
                f"the key may call {', '.join(sorted(allowed))}, not {target.model}; use one of these or another key"
            )
        if self._booked:
            self._reserve_more(target, tokens)
            return
        if self._held or self.reserved:
            self.close()
        lane = self._lane = self._lane_to(target)
        if account.quotas:
            _check_quotas(account, tokens, self._ledger.today)
        if lane.is_limited:
            _check_rates(lane, tokens, self._clock_ns())
            for bucket in lane.singles:
                bucket.take(1)
            for bucket in lane.tokens:
                bucket.take(tokens)
        for quota in account.quotas:
            quota.hold(tokens)
        self.model, self._held, self.reserved = target.model, tokens, True

    def _reserve_more(self, target: Metered, tokens: int) -> None:
        self._give_back(0)
        self.model, self._lane = target.model, self._lane_to(target)
        if self._account.quotas:
            _check_quotas(self._account, tokens, self._ledger.today)
        if self._lane.is_limited:
            _check_rates(self._lane, tokens, self._clock_ns(), requests=0)
            for bucket in self._lane.tokens:
                bucket.take(tokens)
        for quota in self._account.quotas:
            quota.hold(tokens)
        self._held = tokens

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Book what was used so far, and give back what was reserved beyond; a later call books what came on top."""
        prompt = prompt_tokens - self._prompt_tokens
        completion = completion_tokens - self._completion_tokens
        if self._booked and not prompt and not completion:
            return
        self._give_back(prompt + completion)
        self._ledger.record(
            self._account.key_id, self.model, 0 if self._booked else 1, prompt, completion
        )
        self._prompt_tokens, self._completion_tokens = prompt_tokens, completion_tokens
        self._booked = True

    def close(self) -> None:
        """The call is over. If nothing was settled, give back all that was reserved."""
        if self.reserved and not self._booked:
            for bucket in self._lane.singles:
                bucket.give_back(1)
            self._give_back(0)
            self.reserved = False
        elif self._held:
            self._give_back(0)

    def headers(self) -> tuple[Header, ...]:
        """The X-Ratelimit headers of the tightest limits, as they stood when the call last met them."""
        lane = self._lane
        if not lane.requests and not lane.tokens:
            return _GENEROUS
        return _headers(
            *_tightest(lane.requests, GENEROUS_REQUESTS_PER_MINUTE),
            *_tightest(lane.tokens, GENEROUS_TOKENS_PER_MINUTE),
        )

    def _lane_to(self, target: Metered) -> Lane:
        account = self._account
        return self._lanes.of_call(account.key_id, account.own, target.model)

    def _give_back(self, used: int) -> None:
        """End the reservation, of which so many tokens were used."""
        held, self._held = self._held, 0
        for bucket in self._lane.tokens:
            if used <= held:
                bucket.give_back(held - used)
            else:
                bucket.wait_ns(0, self._clock_ns())
                bucket.take(used - held)
        for quota in self._account.quotas:
            quota.release(held, used, self._ledger.today)


def _check_quotas(account: Account, tokens: int, today: int) -> None:
    total, daily = account.total, account.daily
    if total is not None and total.left(today) < tokens:
        raise errors.TotalQuotaExceeded(
            f"{_left(total.left(today), total.limit, tokens)} or use another key"
        )
    if daily is not None and daily.left(today) < tokens:
        raise errors.QuotaExceeded(
            f"{_left(daily.left(today), daily.limit, tokens)} or wait for the next day (UTC)"
        )


def _check_rates(lane: Lane, tokens: int, now_ns: int, *, requests: int = 1) -> None:
    """Refuse by the limit that has room last, so that a caller who waits for it is not refused by another."""
    longest_ns, blame = 0, None
    for bucket in lane.singles:
        wait_ns = bucket.wait_ns(requests, now_ns)
        if wait_ns > longest_ns:
            longest_ns, blame = wait_ns, bucket
    for bucket in lane.tokens:
        if tokens > bucket.limit:
            raise errors.TokenRateLimited(
                f"this call may need {tokens} tokens and the limit is {bucket.limit} a minute;"
                " shorten the prompt or lower max_output_tokens"
            )
        wait_ns = bucket.wait_ns(tokens, now_ns)
        if wait_ns > longest_ns:
            longest_ns, blame = wait_ns, bucket
    if blame is not None:
        raise _refusal(lane, blame, tokens, longest_ns)


def _refusal(lane: Lane, blame: Bucket, tokens: int, wait_ns: int) -> errors.RateLimited:
    kind, unit, units = errors.TokenRateLimited, "tokens a minute", tokens
    if blame in lane.seconds:
        period = blame.period_seconds
        unit = "requests a second" if period == 1 else f"requests in {period:.3g} s"
        kind, units = errors.RateLimited, 1
    elif blame in lane.requests:
        kind, unit, units = errors.RequestRateLimited, "requests a minute", 1
    return kind(
        f"the limit is {blame.limit} {unit}, {blame.remaining} are left and this call may need {units};"
        f" try again in {-(-wait_ns // SECOND_NS)} s",
        retry_after_seconds=wait_ns / SECOND_NS,
    )


def _left(left: int, limit: int, tokens: int) -> str:
    return (
        f"{max(left, 0)} of the key's {limit} tokens are left and this call may need {tokens};"
        " shorten the prompt, lower max_output_tokens"
    )


def _tightest(buckets: Sequence[Bucket], generous: int) -> tuple[int, int]:
    """Limit and remainder of the bucket with the least left."""
    limit = left = generous
    for bucket in buckets:
        remaining = bucket.remaining
        if remaining < left:
            limit, left = bucket.limit, remaining
    return limit, left


def _headers(
    requests: int, requests_left: int, tokens: int, tokens_left: int
) -> tuple[Header, ...]:
    return (
        (b"X-Ratelimit-Limit-Requests", b"%d" % requests),
        (b"X-Ratelimit-Limit-Tokens", b"%d" % tokens),
        (b"X-Ratelimit-Remaining-Requests", b"%d" % requests_left),
        (b"X-Ratelimit-Remaining-Tokens", b"%d" % tokens_left),
    )


_GENEROUS = _headers(
    GENEROUS_REQUESTS_PER_MINUTE,
    GENEROUS_REQUESTS_PER_MINUTE,
    GENEROUS_TOKENS_PER_MINUTE,
    GENEROUS_TOKENS_PER_MINUTE,
)
