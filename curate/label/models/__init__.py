"""Models of workers: labels from votes by how reliable each worker seems. 2 of 3 stays the default."""
