"""Train, calibrate and export the model that reads handwritten digits."""
