"""Pictures and people -> a manifest."""
