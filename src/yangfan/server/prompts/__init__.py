"""Prompt templates with versions and labels. `Prompts` keeps them and renders them."""

from yangfan.server.prompts.logic import Prompts

__all__ = ["Prompts"]
