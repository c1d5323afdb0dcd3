"""Feature extractors, one file each: from a clip to sequences of vectors."""
