"""What a library says of itself, for people and for other programs."""
