"""What goes over the wire, as msgspec Structs. Knows nobody but `yangfan.errors`."""
