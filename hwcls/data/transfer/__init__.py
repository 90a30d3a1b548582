"""How pixels reach the device: at once where its memory has room, else batch by batch."""
