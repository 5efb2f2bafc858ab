"""Training data: the collections, and the pictures drawn from their pen strokes."""
