"""Getting models onto this machine: a catalogue, sources to fetch from, and a content-addressed store."""
