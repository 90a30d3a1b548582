"""`hwcls init`: a sweep file that fits data, machine and time; each choice has a reason."""
