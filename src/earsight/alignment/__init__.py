"""Two sequences against each other: at which lag they fit, along which path, and how surely."""
