"""Keras files read as data, so that no code of theirs runs: `.h5` of TensorFlow 2.4 to today's, `.keras`.

`read` takes a file's content and gives the network in it, or raises `models.refusal.Refusal`. Call it in a
throw-away process for a file that nobody knows (`models.importing.isolated`).
"""

from models.importing.keras.saved import read

__all__ = ["read"]
