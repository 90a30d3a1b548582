"""`hwcls doctor`."""
