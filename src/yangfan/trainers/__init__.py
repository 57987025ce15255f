"""Ways of training a model: one file each. A run is files and events: a specification in, JSON events out, an exit status."""
