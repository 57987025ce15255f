"""Everything that can go wrong, as one tree. No HTTP in here.

    YangfanError
    ├── RefusedError                 the platform understood the call and said no (server raises, SDK re-raises)
    │   ├── Invalid                  the caller must change the request
    │   │   ├── MalformedJSON
    │   │   ├── MalformedArgument
    │   │   ├── BadSample
    │   │   ├── InvalidMessages
    │   │   ├── InvalidSystem
    │   │   ├── InvalidUserSetting
    │   │   ├── InvalidImagePrompt
    │   │   ├── InvalidReferenceImage
    │   │   ├── TooManyCharacters
    │   │   ├── ContextTooLong
    │   │   ├── InvalidImage
    │   │   │   └── ImageUnreadable
    │   │   ├── InvalidPluginArgument
    │   │   ├── BodyTooLarge
    │   │   └── HeadersTooLarge
    │   ├── Unauthenticated          who are you?
    │   │   ├── BadClientCredentials
    │   │   ├── TokenInvalid
    │   │   ├── TokenExpired
    │   │   ├── BearerInvalid
    │   │   └── SignatureInvalid
    │   ├── Forbidden
    │   │   ├── AppForbidden
    │   │   ├── ModelForbidden
    │   │   ├── ModelOffline
    │   │   └── ContentRefused
    │   │       ├── UserSettingRefused
    │   │       ├── FunctionsRefused
    │   │       └── ImageRefused
    │   ├── NotFound
    │   │   ├── EndpointNotFound
    │   │   └── ModelNotFound
    │   ├── MethodNotAllowed
    │   ├── Conflict
    │   │   └── TooManyTasks
    │   ├── RateLimited
    │   │   ├── RequestRateLimited
    │   │   ├── TokenRateLimited
    │   │   └── PreemptibleLimited
    │   │       └── OfflineLimited
    │   ├── QuotaExceeded
    │   │   └── TotalQuotaExceeded
    │   ├── Overloaded
    │   ├── EngineFailed
    │   │   ├── PluginFailed
    │   │   └── UpstreamFailed
    │   ├── ImageFailed
    │   └── InternalError
    ├── UnreachableError             the SDK got no usable answer
    │   ├── ConnectionFailed
    │   ├── DeadlineExceeded
    │   └── BadReply
    ├── ConfigurationError           settings, arguments, this machine
    │   ├── TrainingDiverged
    │   ├── OutOfMemory
    │   ├── DiskFull
    │   └── UnknownExtension
    ├── OperatorFailed               a cleaning operator of third parties crashed, hung or broke a rule
    └── FetchError                   getting a file from somewhere else
        ├── EgressDenied
        ├── ChecksumMismatch
        └── SourceUnavailable

The two dialects' tables (`protocol/v1/errors.py`, `protocol/v2/errors.py`) map these classes to codes and back, so the
SDK raises the class that the server raised.
"""

from __future__ import annotations


class YangfanError(Exception):
    """Root of everything this package raises on purpose.

    Attributes:
        message: What happened and what to change, for a person.
    """

    def __init__(self, message: str = "") -> None:
        """Keep the message; the class docstring's first line is the default."""
        doc = (type(self).__doc__ or type(self).__name__).strip()
        self.message = message or doc.splitlines()[0]
        super().__init__(self.message)


class RefusedError(YangfanError):
    """The platform refused the call.

    Attributes:
        code: The code on the wire, an int in v1 (``336003``) and a string in v2 (``"invalid_argument"``); None until
            the error has crossed the wire.
        status: HTTP status of the reply that carried it, None on the server side.
        param: Name of the offending request field, if one is to blame.
        retry_after_seconds: How long to wait before trying again, if known.
        request_id: ``X-Baidu-Request-Id`` of the reply, for support.
    """

    retryable = False

    def __init__(
        self,
        message: str = "",
        *,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        code: int | str | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Keep what is known; everything but the message is optional."""
        super().__init__(message)
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.code = code
        self.status = status
        self.request_id = request_id


class Invalid(RefusedError):
    """A parameter has a value that is not allowed."""


class MalformedJSON(Invalid):
    """The body is not JSON in UTF-8."""


class MalformedArgument(Invalid):
    """An argument is missing or has the wrong JSON type."""


class BadSample(Invalid):
    """A row is not of the data format that it should be."""


class InvalidMessages(Invalid):
    """The list of messages breaks a rule."""


class InvalidSystem(Invalid):
    """The `system` field is invalid or too long."""


class InvalidUserSetting(Invalid):
    """The `user_setting` field is invalid."""


class InvalidImagePrompt(Invalid):
    """The description of a picture is missing or too long."""


class InvalidReferenceImage(Invalid):
    """The picture to start from is no picture, or not one of the sizes allowed."""


class TooManyCharacters(Invalid):
    """The input has more characters than the model takes."""


class ContextTooLong(Invalid):
    """The prompt has more tokens than the model takes."""


class InvalidImage(Invalid):
    """A picture cannot be had from where it is said to be, or is too large or too small."""


class ImageUnreadable(InvalidImage):
    """What was sent as a picture is none, or only a part of one."""


class InvalidPluginArgument(Invalid):
    """An input of a plugin is not what its schema asks for."""


class BodyTooLarge(Invalid):
    """The request body is larger than this server accepts."""


class HeadersTooLarge(Invalid):
    """The request headers are larger than this server accepts."""


class Unauthenticated(RefusedError):
    """The call carries no credentials that this server knows."""


class BadClientCredentials(Unauthenticated):
    """The OAuth pair is wrong.

    `oauth_error` is the value of the reply's `error` field (RFC 6749, section 5.2).
    """

    def __init__(self, message: str = "", *, oauth_error: str = "invalid_client") -> None:
        """Keep the OAuth error word beside the description."""
        super().__init__(message)
        self.oauth_error = oauth_error


class TokenInvalid(Unauthenticated):
    """The access_token is unknown or was never issued."""


class TokenExpired(Unauthenticated):
    """The access_token has expired."""


class BearerInvalid(Unauthenticated):
    """The bearer key is unknown, expired or revoked."""


class SignatureInvalid(Unauthenticated):
    """The bce-auth-v1 signature does not verify.

    `reason` is one of the X-Bce-Error-Code words: InvalidAccessKeyId, SignatureDoesNotMatch, RequestExpired,
    MissingAuthenticationHeader, InvalidAuthorization.
    """

    def __init__(self, message: str = "", *, reason: str = "SignatureDoesNotMatch") -> None:
        """Keep the machine-readable reason beside the text."""
        super().__init__(message)
        self.reason = reason


class Forbidden(RefusedError):
    """These credentials may not do this."""


class AppForbidden(Forbidden):
    """The `appid` header names an application that these credentials may not use."""


class ModelForbidden(Forbidden):
    """The key may not use the model."""


class ModelOffline(Forbidden):
    """The service of that name is stopped."""


class ContentRefused(Forbidden):
    """The content was refused by moderation."""


class UserSettingRefused(ContentRefused):
    """The `user_setting` was refused by moderation."""


class FunctionsRefused(ContentRefused):
    """The functions were refused by moderation."""


class ImageRefused(ContentRefused):
    """A picture was refused by moderation."""


class NotFound(RefusedError):
    """There is no such thing."""


class EndpointNotFound(NotFound):
    """No such path."""


class ModelNotFound(NotFound):
    """No model or service of that name is served here."""


class MethodNotAllowed(RefusedError):
    """That path takes another HTTP method."""


class Conflict(RefusedError):
    """The state of the thing does not allow this now."""


class TooManyTasks(Conflict):
    """As many tasks as may be at once wait or are worked on already."""


class RateLimited(RefusedError):
    """Too many calls in a short time."""

    retryable = True


class RequestRateLimited(RateLimited):
    """More requests a minute than the limit."""


class TokenRateLimited(RateLimited):
    """More tokens a minute than the limit."""


class PreemptibleLimited(RateLimited):
    """A preemptible call, which waits for all others, cannot have its turn in time."""


class OfflineLimited(PreemptibleLimited):
    """A call of work that goes on in the background, such as a batch, cannot have its turn in time."""


class QuotaExceeded(RefusedError):
    """The daily quota of these credentials is used up."""


class TotalQuotaExceeded(QuotaExceeded):
    """The quota of these credentials is used up for good."""


class Overloaded(RefusedError):
    """The platform has more work than it can take; try again shortly."""

    retryable = True


class EngineFailed(RefusedError):
    """The inference engine failed while answering; try again."""

    retryable = True


class ImageFailed(RefusedError):
    """The model drew no usable picture, or ran out of memory while drawing."""


class PluginFailed(EngineFailed):
    """A plugin could not do what it was asked for."""


class UpstreamFailed(EngineFailed):
    """Somebody else's server, which this platform asked on the caller's behalf, failed or refused the platform."""


class InternalError(RefusedError):
    """A defect on the server; its log has the details under the request id."""


class UnreachableError(YangfanError):
    """No usable answer came back."""


class ConnectionFailed(UnreachableError):
    """The server could not be reached or closed the connection early."""


class DeadlineExceeded(UnreachableError):
    """The answer did not come within the time allowed."""


class BadReply(UnreachableError):
    """What came back is not what the API promises."""


class ConfigurationError(YangfanError):
    """A setting, an argument or something on this machine is not right."""


class TrainingDiverged(ConfigurationError):
    """The loss of a training run is no number any more; the last good checkpoint is kept."""


class OutOfMemory(ConfigurationError):
    """There is not enough memory for this work."""


class DiskFull(ConfigurationError):
    """There is not enough disk space for this work."""


class UnknownExtension(ConfigurationError):
    """No extension of that name; the message lists those that exist."""


class OperatorFailed(YangfanError):
    """A cleaning operator of third parties crashed, took too long or answered what is no answer."""


class FetchError(YangfanError):
    """A file could not be fetched."""


class EgressDenied(FetchError):
    """The address is not one that this server may connect to."""


class ChecksumMismatch(FetchError):
    """The bytes that arrived are not the bytes that were promised."""


class SourceUnavailable(FetchError):
    """The place that holds the file did not answer or does not have it."""
