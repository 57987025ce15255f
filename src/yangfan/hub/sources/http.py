"""A single file on a web server without TLS, which the setting `egress_allow` must name: ``http://host/path/model.gguf``."""

from yangfan.hub.sources._web import create

__all__ = ["create"]
