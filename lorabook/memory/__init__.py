"""Where the memory of a training step goes: estimated in closed form, run dry on the meta device, measured."""
