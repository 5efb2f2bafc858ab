"""Train the gate: the small network that says whether a crop shows a digit at all."""
