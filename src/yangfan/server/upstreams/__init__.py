"""Other people's servers behind our names: kept with their keys sealed, asked on our callers' behalf."""

from yangfan.server.upstreams.logic import Upstreams, ask_upstream, from_settings
from yangfan.server.upstreams.traffic import BUCKETS_SECONDS

__all__ = ["BUCKETS_SECONDS", "Upstreams", "ask_upstream", "from_settings"]
