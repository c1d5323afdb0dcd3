"""Networks as torch modules; each is needed once, to convert original weights."""
