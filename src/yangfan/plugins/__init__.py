"""What a model can call for help: one folder per plugin. Plugins know no wire, no server and no database."""
