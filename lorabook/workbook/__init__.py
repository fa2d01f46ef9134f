"""What only the notebooks use: set-up, figures, live plots, and the choices of the final run."""
