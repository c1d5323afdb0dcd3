"""From a query to ranked clips and moments."""
