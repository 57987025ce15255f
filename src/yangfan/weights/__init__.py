"""Weight files: read and written here byte by byte, with every count and place checked, and without any ML library."""
