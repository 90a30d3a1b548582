"""Matrix multiplications of GPUs: dense bfloat16 with float32 sums, by the vendor's data sheets."""

from __future__ import annotations

import re

PEAKS = {  # FLOP/s by the name that CUDA has for a GPU
    r"H200|H100|H100 80GB HBM3|H100 SXM.*": 989e12,
    r"H100 PCIe": 756e12,
    r"A100.*": 312e12,
    r"L40S": 362e12,
    r"L4": 121e12,
    r"T4": 65e12,  # float16: it has no bfloat16
    r"RTX 3090": 71e12,
    r"RTX 4090": 165e12,
    r"RTX 5090": 209e12,
}


def peak_of(name: str) -> float | None:
    """FLOP/s of the GPU that `torch.cuda.get_device_name` calls so; None for others, and for parts of one (MIG)."""
    short = re.sub(r"NVIDIA|Tesla|GeForce", "", name).strip()
    if "MIG" in short:
        return None
    return next((peak for pattern, peak in PEAKS.items() if re.fullmatch(pattern, short)), None)
