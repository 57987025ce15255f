"""The knowledge base: documents to blocks, blocks to chunks, chunks to terms, and rankings out of both.

Pure functions; `yangfan.server.knowledge` keeps what they make in the database, and a worker runs the slow ones.
"""
