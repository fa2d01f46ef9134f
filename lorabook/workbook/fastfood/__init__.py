"""Fastfood: a random projection that is never formed."""
