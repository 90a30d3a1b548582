"""What a sweep computes once, before its first trial: the features of frozen backbones."""
