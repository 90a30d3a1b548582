"""Image files to uint8 pixels: formats, pixels of more than 8 bits, memory."""
