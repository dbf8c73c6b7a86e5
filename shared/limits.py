"""Numbers that two parts must agree on, so that one never asks for what the other refuses."""

LEAST_EXAMPLES = 10  # of a training; below, it learns the examples by heart and nothing else
ADVISED_EXAMPLES = 200  # of a training; with fewer its candidates are unsteady

PRIVATE = 0o700  # mode of folders that will hold what users wrote; one that is there keeps its own
