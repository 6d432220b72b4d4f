"""The page in which a run plans."""
