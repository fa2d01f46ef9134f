"""One optimizer step: settings, loss, gradients, optimizer. The memory room runs it dry, the training room in a loop."""
