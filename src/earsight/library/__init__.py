"""The use cases over a folder of clips: index, search, evaluate."""
