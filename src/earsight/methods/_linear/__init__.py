"""What the closed forms share."""
