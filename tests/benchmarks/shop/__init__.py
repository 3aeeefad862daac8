"""The models that are read and written: a shop of nine-column products."""
