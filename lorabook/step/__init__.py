"""One optimizer step: settings, loss, gradients, optimizer. `memory` runs it dry, `training` in a loop."""
