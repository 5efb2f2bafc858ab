"""`smartcar model …` and `smartcar keys …`."""
