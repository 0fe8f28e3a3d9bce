"""Labels become a data set."""
