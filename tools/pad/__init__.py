"""`smartcar pad …`: the drawing pad from the command line and in a window."""
