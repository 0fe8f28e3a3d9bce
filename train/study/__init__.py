"""Many runs from one file: `file` reads it, `run` trains what is missing and reports; paper.toml is the paper's own."""
