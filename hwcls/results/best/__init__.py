"""A sweep's best model: the run whose weights stand for it, their copy in best/, and how both are shown."""
