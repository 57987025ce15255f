"""Qianfan v2 inference: OpenAI's shape with Qianfan's error codes; real HTTP statuses."""
