"""What strings several rooms together; the command line only calls these."""
