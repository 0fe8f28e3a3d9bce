"""People answer."""
