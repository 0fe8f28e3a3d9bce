"""The best recipe, found by trials around the one that stands: the space, the search, and its page of plots."""
