"""The requester's desk: pages in the requester's own browser, over the workspace and the requester protocol."""
