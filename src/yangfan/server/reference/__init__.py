"""The reference that the server serves about itself: `/openapi.json` and the page `/docs`, which works offline."""

from yangfan.server.reference.page import Reference

__all__ = ["Reference"]
