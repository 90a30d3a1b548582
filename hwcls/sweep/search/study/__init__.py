"""The Optuna study of a sweep, rebuilt where trials count no more or the space has changed."""
