"""The clinic: runs that failed."""
