"""Commands that look at a running car: status, top, watch, events, view."""
