"""Reading and writing files: paths as people write them, strict YAML, and writing whole files."""
