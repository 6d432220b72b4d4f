"""Functions that string several rooms together, for the command line to call."""
