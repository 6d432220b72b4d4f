"""What strings several rooms together, for the command line to call."""
