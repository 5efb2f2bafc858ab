"""One module a door; each names its class `DOOR`."""
