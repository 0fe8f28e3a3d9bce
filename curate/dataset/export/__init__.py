"""A data set in the form that other people's tools read: a file a format, and the card that goes with it."""
