"""A model file from outside becomes a bundle: Keras files are read as data, in an isolated process."""
