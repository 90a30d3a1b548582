"""Pretrained weights of timm's backbones: where they are looked for, what identifies them, how they are loaded."""
