"""One file per inference engine, on three shared ones: base (vocabulary), process (supervised child), wire (HTTP to it)."""
