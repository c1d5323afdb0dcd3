"""From samples, frames and text to what a network reads."""
