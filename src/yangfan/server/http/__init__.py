"""ASGI plumbing that knows no capability: routing, credentials hook, decoding, errors, streaming, limits."""

from yangfan.server.http.call import Accepted, Call, Download, Principal, Reply, Stream
from yangfan.server.http.gateway import Gateway
from yangfan.server.http.metering import Meter, Metered, Unmetered
from yangfan.server.http.observing import CLIENT_GONE, OK, Observed, Observer
from yangfan.server.http.routing import Handler, Route

__all__ = [
    "CLIENT_GONE",
    "OK",
    "Accepted",
    "Call",
    "Download",
    "Gateway",
    "Handler",
    "Meter",
    "Metered",
    "Observed",
    "Observer",
    "Principal",
    "Reply",
    "Route",
    "Stream",
    "Unmetered",
]
