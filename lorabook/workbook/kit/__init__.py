"""The kit that the rooms share: questions, exercises, explorers, figures, stored results."""
