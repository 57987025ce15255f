"""Datasets as files: what a row is, Parquet shards, manifests of versions, edits on top. No server, no wire."""
