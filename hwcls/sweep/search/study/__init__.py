"""A sweep's Optuna study: what Optuna knows of a trial, rebuilt where trials count no more or the space changed."""
