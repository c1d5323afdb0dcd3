"""What a library knows: its clips, their contents, and where it lies."""
