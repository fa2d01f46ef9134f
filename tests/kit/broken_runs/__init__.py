"""Runs that failed, for the doctor: the code that breaks them, what they left."""
