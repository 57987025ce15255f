"""Other people's servers behind our names: kept with their keys sealed, asked on our callers' behalf."""

from yangfan.server.upstreams.logic import Upstreams

__all__ = ["Upstreams"]
