"""Diagnosis: what is wrong with a run, what a machine can do."""
