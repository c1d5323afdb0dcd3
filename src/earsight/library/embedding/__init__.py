"""From features to points in one space: training rows, models, cross-validation."""
