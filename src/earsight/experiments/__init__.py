"""The use cases over feature files: cross-validate, compare, reproduce the paper's tables."""
