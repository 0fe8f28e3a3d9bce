"""The page of `curate dedup --review`: a person merges or separates pairs that are not certain."""
