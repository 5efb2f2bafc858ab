"""Train the eye: the network that finds handwritten digits in a picture, and the scenes it learns from."""
