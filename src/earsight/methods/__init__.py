"""Learners of a joint embedding, one file each."""
