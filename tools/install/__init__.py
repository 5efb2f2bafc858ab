"""`smartcar install`: the car on this machine, as systemd services."""
