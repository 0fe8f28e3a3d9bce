"""The thin commands, one file a stage: read, call one library function, write, say one line."""
