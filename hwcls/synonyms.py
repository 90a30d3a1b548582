"""What users of torch, timm, W&B and other tools call the things that hwcls names, and what hwcls has no name for."""

from __future__ import annotations

from collections.abc import Iterable

# hwcls's name: the other ones; upper case, underscores and hyphens do not count
_OTHER_NAMES = {
    # sections and keys of a sweep file
    "optimizer": "optim opt optimiser",
    "scheduler": "lr_scheduler schedule lr_schedule",
    "model": "network net arch architecture",
    "data": "dataset data_set datasets",
    "augment": "aug augmentation augmentations transform transforms",
    "epochs": "epoch num_epochs max_epochs n_epochs",
    "batch_size": "batch bs train_batch_size batchsize",
    "lr": "learning_rate init_lr base_lr max_lr initial_lr",
    "weight_decay": "wd l2 l2_penalty decay",
    "momentum": "mom",
    "min_lr": "eta_min min_learning_rate lr_min",
    "factor": "gamma decay_factor lr_factor reduce_factor",
    "warmup": "warmup_epochs num_warmup_epochs warm_up",
    "rise": "pct_start",
    "width": "hidden hidden_size hidden_dim hidden_units units",
    "widths": "hidden_sizes hidden_layers hidden_dims layer_sizes",
    "depth": "num_layers n_layers layers",
    "kernel": "kernel_size ksize",
    "dropout": "drop drop_rate dropout_rate p",
    "activation": "act act_layer activation_fn nonlinearity",
    "backbone": "model_name timm_model encoder",
    "pretrained": "weights",
    "frozen": "freeze freeze_backbone",
    "freeze_epochs": "unfreeze_epoch unfreeze_after freeze_for frozen_epochs num_freeze_epochs",
    "backbone_lr": "backbone_lr_factor backbone_lr_scale backbone_lr_mult encoder_lr body_lr",
    "layer_decay": "layerwise_lr_decay layer_wise_lr_decay llrd lr_layer_decay layer_lr_decay",
    "drop_path": "drop_path_rate stochastic_depth stochastic_depth_prob",
    "frozen_norm": "freeze_bn freeze_batch_norm frozen_bn freeze_norm norm_eval bn_eval",
    "table": "csv csv_file annotations annotation_file labels_file metadata table_file",
    "image_column": "file_column path_column filename_column x_col image_col",
    "label_column": "target_column class_column y_col label_col",
    "split_column": "split_col subset_column",
    "group": "group_column groups group_col",
    "train_folder": "train_dir train_path train_directory",
    "val_folder": "val_dir val_path valid_folder validation_folder",
    "test_folder": "test_dir test_path",
    "image_size": "img_size input_size resolution size",
    "channels": "in_channels in_chans",
    "classes": "num_classes n_classes",
    "per_class": "samples_per_class images_per_class shots",
    "fraction": "subset data_fraction train_fraction",
    "val": "val_split val_fraction validation_split val_size valid",
    "clip": "grad_clip clip_grad clip_grad_norm max_norm max_grad_norm gradient_clip_val clip_norm gradient_clipping",
    "label_smoothing": "smoothing",
    "class_weights": "class_weight",
    "ema": "ema_decay model_ema",
    "seed": "random_seed random_state manual_seed",
    "run_cap": "num_trials n_trials max_trials trials num_samples max_runs count",
    "budget": "time_limit timeout max_time time time_budget",
    "early_terminate": "early_stopping early_stop pruner",
    "method": "sampler search_method algorithm search_alg searcher",
    "track": "tracker trackers logger loggers logging",
    "project": "wandb_project project_name",
    "parameters": "params space search_space hyperparameters config",
    "presets": "preset profiles",
    "min_iter": "grace_period min_t",
    "eta": "reduction_factor",
    "gpus_per_worker": "gpu gpus num_gpus gpus_per_trial",
    "cpus_per_worker": "cpu cpus num_cpus cpus_per_trial",
    "concurrent": "max_concurrent max_concurrent_trials parallel n_jobs",
    # words of a parameter
    "values": "choice choices options categorical list grid",
    "min": "minimum low lower",
    "max": "maximum high upper",
    "log": "log_scale logarithmic",
    "log_uniform_values": "loguniform reciprocal",
    # augmentation
    "hflip": "horizontal_flip random_horizontal_flip flip fliplr flip_lr",
    "vflip": "vertical_flip random_vertical_flip flipud flip_ud",
    "crop": "random_crop padding",
    "rotate": "rotation random_rotation degrees",
    "resized_crop": "random_resized_crop",
    "translate": "translation shift",
    "erase": "random_erasing random_erase",
    "trivial": "trivial_augment trivial_augment_wide rand_augment auto_augment",
    "mixup": "mixup_alpha",
    "cutmix": "cutmix_alpha",
    # values
    "constant": "constant_lr fixed none null",
    "plateau": "reduce_lr_on_plateau reduce_on_plateau",
    "cosine": "cosine_annealing_lr cosine_annealing cosine_decay cosine_lr",
    "one_cycle": "one_cycle_lr 1cycle",
    "mlp": "fc fcn dense fully_connected",
    "simple_cnn": "cnn convnet conv_net",
    "val/accuracy": "accuracy acc val_acc top1 validation_accuracy",
    "val/loss": "loss validation_loss",
    "val/macro_f1": "f1 f1_score macro_f1 val_f1",
    "maximize": "max maximise",
    "minimize": "min minimise",
    "tpe": "bayes optuna",
    "gp": "gaussian_process bayesian bo bayesian_optimization",
    "cmaes": "cma cma_es evolution",
    "random": "random_search",
    "grid": "grid_search",
    "asha": "successive_halving sha",
    "median": "median_stopping median_pruner",
    "wandb": "wb w&b weights_and_biases",
    "tensorboard": "tb tensorboardx",
    "mlflow": "ml_flow mlflow_skinny",
    "silu": "swish",
    "batch": "batch_norm batch_norm_2d bn",
    "balanced": "balance weighted",
    "small": "cifar",
    "standard": "imagenet",
}

_DEFAULT = "hwcls keeps torch's default: remove it"
_DATA_LOADER = "hwcls has no DataLoader: remove it"
_MACHINE = "hwcls chooses it by the machine: remove it"
_EPOCHS = "it follows from epochs: remove it"
# what hwcls has nothing to set for, and what to do instead
_REMEDIES = {
    _DEFAULT: "betas beta beta1 beta2 eps epsilon amsgrad dampening foreach fused capturable threshold cooldown",
    _DATA_LOADER: "num_workers pin_memory shuffle drop_last persistent_workers prefetch_factor",
    _MACHINE: "device cuda amp precision fp16 bf16 compile mixed_precision dtype",
    _EPOCHS: "T_max total_steps steps_per_epoch max_iter max_t",
    "hwcls's schedules are constant, plateau, cosine and one_cycle": "step_size milestones T_0 T_mult",
    "the sweep's metric drives it: remove it": "mode monitor",
    "hwcls trains with cross-entropy: label_smoothing and class_weights change it": (
        "loss loss_fn criterion loss_function cross_entropy cross_entropy_loss"
    ),
    "it is data.mean and data.std; left out, what pretrained weights expect, or of the training images": (
        "normalize normalise normalization normalisation"
    ),
    "set brightness, contrast, saturation and hue": "color_jitter colour_jitter jitter",
    "hwcls has no use for it: remove it": "program command description verbose",
    "set the environment variable WANDB_ENTITY": "entity team wandb_entity",
}
# well-known names that are near to one of hwcls's without being the same
_OTHER_THINGS = """
    nadam radam adamax adagrad adadelta asgd sparse_adam rmsprop rprop lbfgs lion lamb lars adafactor muon shampoo
    step_lr multi_step_lr exponential_lr cyclic_lr polynomial_lr linear_lr lambda_lr cosine_annealing_warm_restarts
    bohb pbt comet neptune clearml aim leaky_relu prelu relu6 elu selu mish tanh sigmoid
    resnet wide_resnet resnext densenet efficientnet mobilenet convnext vgg vit swin inception googlenet lenet regnet
"""


def plain(word: object) -> str:
    """A name without case, underscores, hyphens: "Reduce-LR_On_Plateau" is reducelronplateau."""
    return "".join(letter for letter in str(word).casefold() if letter.isalnum() or letter == "&")


_KNOWN_AS: dict[str, list[str]] = {}
for _name, _others in _OTHER_NAMES.items():
    for _other in _others.split():
        _KNOWN_AS.setdefault(plain(_other), []).append(_name)
_REMEDY = {plain(word): remedy for remedy, words in _REMEDIES.items() for word in words.split()}
_OTHER = frozenset(plain(word) for word in _OTHER_THINGS.split())


def same_name(word: object, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` names in another spelling or by another tool's word; None where there is none."""
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(plain(name), name)
    for spelling in dict.fromkeys((plain(word), plain(str(word).rpartition(".")[2]))):  # torch.optim.AdamW
        for candidate in (spelling, *map(plain, _KNOWN_AS.get(spelling, ()))):
            if candidate and candidate in names:
                return names[candidate]
    return None


def other_remedy(word: object) -> str | None:
    """What to do about a well-known word that has no counterpart in hwcls; None for other words."""
    return _REMEDY.get(plain(word))


def is_other_thing(word: object) -> bool:
    """Whether a well-known word means something that hwcls does not have, however near it is to a name of hwcls."""
    return bool({plain(word), plain(str(word).rpartition(".")[2])} & _OTHER)
