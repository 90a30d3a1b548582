"""The Optuna study of a sweep: what is told of a trial, and rebuilt where trials count no more or the space changed."""
