"""Features of a folder of clips in one file: what `earsight extract` does."""
