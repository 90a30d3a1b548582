"""One optimizer step: forward and backward over micro-batches, precision, loss, BatchNorm, averaging, learning rate."""
