"""A sweep on Slurm: the batch script of a job whose nodes form a Ray cluster of their own."""
