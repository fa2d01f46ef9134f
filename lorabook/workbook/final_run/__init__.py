"""The final run: StarCoder on StackOverflow."""
