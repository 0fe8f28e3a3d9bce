"""Commands of `train`, one file a theme, thin: each calls one library function and says one line."""
