"""Commands that take one module each."""
