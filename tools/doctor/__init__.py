"""`smartcar doctor`: what is wrong with the car and this machine, in plain words, and the remedy."""
