"""Running a model: the LiteRT runtime, the form of its input, the meaning of its confidences."""
