"""Pen strokes drawn as the pad draws them, and synthetic handwriting."""
