"""The page and its JSON API on this machine: thin, it asks the library."""
