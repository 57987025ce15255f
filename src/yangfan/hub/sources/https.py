"""A single file on a web server: ``https://host/path/model.gguf``."""

from yangfan.hub.sources._web import create

__all__ = ["create"]
