"""Documents to blocks: one file per format, found by its name. Each has `read(path) -> Iterator[Block]`.

They run in a process of their own with limits (`yangfan.plugins.knowledge_base.parsing`), for a file may be made to do harm.
"""
