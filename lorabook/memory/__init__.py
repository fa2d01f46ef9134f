"""Where the memory of a training step goes: predicted in closed form, rehearsed on the meta device, measured."""
