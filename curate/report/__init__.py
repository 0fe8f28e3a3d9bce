"""Look at it."""
