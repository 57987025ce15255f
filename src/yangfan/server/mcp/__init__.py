"""This platform as an MCP server: its knowledge bases, applications and chat services as tools of other programs."""

from yangfan.server.mcp.logic import Tools

__all__ = ["Tools"]
