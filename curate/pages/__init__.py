"""What all pages for the requester share, whichever stage they belong to: who may see them, how they are served."""
