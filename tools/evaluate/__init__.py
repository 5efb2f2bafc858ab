"""`smartcar evaluate`: models scored on handwriting that they were not trained on."""
