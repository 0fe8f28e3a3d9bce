"""Which pictures count."""
