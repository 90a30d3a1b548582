"""What is measured, a module for each part."""

from benchmarks.on_gpu.part import Part
from benchmarks.on_gpu.parts import checks, epochs, loops, processes, steps, turnaround

PARTS: dict[str, Part] = {
    "steps": steps.PART,
    "loops": loops.PART,
    "processes": processes.PART,
    "epochs": epochs.PART,
    "turnaround": turnaround.PART,
    "checks": checks.PART,
}
