"""The kit that the rooms share: predictions, exercises, explorers, figures, stored results."""
