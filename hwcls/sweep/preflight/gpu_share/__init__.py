"""`gpus_per_worker: auto`: how many trials share a GPU, from what the heaviest of them take of one."""
