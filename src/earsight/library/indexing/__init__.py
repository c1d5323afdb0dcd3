"""From a folder of clips to vectors: what changed, reading it, acknowledging it."""
