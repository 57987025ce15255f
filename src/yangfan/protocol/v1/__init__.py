"""Qianfan v1: HTTP 200 always, `error_code` in the body, streams that end with `is_end`."""
