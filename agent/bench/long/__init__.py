"""What a run costs when it is long."""
