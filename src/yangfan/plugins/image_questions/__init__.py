"""Questions about pictures: the text that stands in them, in the order and the tables that it stands in, and what charts show.

`reading` works in a process of its own, and it alone imports what decodes pictures and recognises text.
"""
