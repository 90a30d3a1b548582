"""What the shell offers for arguments and options: without torch, Ray and timm, and silent where nothing is known."""
