"""Reading files of rows: one file of this folder for each format, found by its name."""
