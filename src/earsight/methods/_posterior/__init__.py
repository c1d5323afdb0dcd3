"""What the methods with posteriors share."""
