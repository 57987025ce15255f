"""The SDK: `Client` and `AsyncClient`. Knows the wire (`yangfan.protocol`) and the errors, and nothing of the server."""
