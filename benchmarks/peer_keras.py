"""Keras Tuner's Hyperband on Keras with torch, after its "Getting started". Run by peers.py.

    KERAS_BACKEND=torch python benchmarks/peer_keras.py search|score SPEC.json

The model has the layers of SimpleCNN: two blocks of 3x3 convolution, pooling, norm and ReLU, whose width doubles.
Keras's own are the start values, the momentum of the norm, and weight decay, which it always takes from the weights
and not from the gradient. Images are shifted by up to 2 pixels, not by whole ones: Keras has no padded crop.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras import layers
from torchvision import datasets


class Writer(keras.callbacks.Callback):
    """A trial's folder: a line for each epoch, and its best model on val."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.best, self.started = folder, -1.0, time.time()
        folder.mkdir(parents=True, exist_ok=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = float((logs or {})["val_accuracy"])
        if found > self.best:
            self.best = found
            self.model.save(self.folder / "new.keras")
            os.replace(self.folder / "new.keras", self.folder / "best.keras")
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            line = {"epoch": epoch + 1, "val/accuracy": found, "seconds": time.time() - self.started}
            file.write(json.dumps(line) + "\n")
        self.started = time.time()


class Space(keras_tuner.HyperModel):
    """The space of contenders.draw."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec, self.number = spec, 0

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        width = hp.Choice("width", [16, 32])
        model = keras.Sequential([keras.Input((28, 28, 1))])  # (B, H, W, C)
        model.add(layers.RandomTranslation(2 / 28, 2 / 28, fill_mode="constant"))
        model.add(layers.RandomFlip("horizontal"))
        model.add(layers.Rescaling(1 / 255 / self.spec["std"][0], -self.spec["mean"][0] / self.spec["std"][0]))
        for channels in (width, 2 * width):
            model.add(layers.Conv2D(channels, 3, padding="same", use_bias=False))
            model.add(layers.MaxPooling2D())
            model.add(layers.BatchNormalization())
            model.add(layers.ReLU())
        model.add(layers.Flatten())
        model.add(layers.Dense(10))
        model.compile(
            optimizer=self.optimizer(hp),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model

    def optimizer(self, hp: keras_tuner.HyperParameters) -> keras.optimizers.Optimizer:
        """AdamW or SGD with momentum, each with a range of its own."""
        decay = hp.Float("weight_decay", 1e-6, 1e-2, sampling="log")
        if hp.Choice("optimizer", ["adamw", "sgd"]) == "adamw":
            with hp.conditional_scope("optimizer", ["adamw"]):
                rate = hp.Float("adamw_lr", 1e-4, 1e-2, sampling="log")
            return keras.optimizers.AdamW(rate, weight_decay=decay)
        with hp.conditional_scope("optimizer", ["sgd"]):
            rate = hp.Float("sgd_lr", 1e-3, 1e-1, sampling="log")
        return keras.optimizers.SGD(rate, momentum=0.9, weight_decay=decay)

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Train with a record of its own."""
        folder, self.number = Path(self.spec["out"], "trials", str(self.number)), self.number + 1
        callbacks = [*kwargs.pop("callbacks", []), Writer(folder)]
        return model.fit(*args, batch_size=self.spec["batch"], callbacks=callbacks, verbose=2, **kwargs)


def images_of(spec: dict[str, Any], train: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(N, 28, 28, 1) of 0 to 255, and the labels (N,)."""
    data = datasets.FashionMNIST(spec["data"], train=train)
    return data.data.numpy()[..., None].astype(np.float32), data.targets.numpy()


def search(spec: dict[str, Any]) -> None:
    """Hyperband, again and again until the process is killed."""
    images, labels = images_of(spec, train=True)
    tuner = keras_tuner.Hyperband(
        Space(spec),
        objective="val_accuracy",
        max_epochs=spec["epochs"],
        factor=spec["eta"],
        hyperband_iterations=spec["trials"],
        directory=spec["out"],
        project_name="tuner",
    )
    val = (images[spec["val"]], labels[spec["val"]])
    tuner.search(images[spec["train"]], labels[spec["train"]], validation_data=val)


def score(spec: dict[str, Any]) -> None:
    """Print the accuracy on test of the trial whose folder `spec` names, with its best weights on val."""
    images, labels = images_of(spec, train=False)
    _, accuracy = keras.models.load_model(Path(spec["best"], "best.keras")).evaluate(images, labels, verbose=0)
    print(accuracy)


if __name__ == "__main__":
    commands = {"search": search, "score": score}
    commands[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text("utf-8")))
