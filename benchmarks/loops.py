"""Training loops as people write them: the PyTorch tutorial's, Lightning's, timm's train.py, torchvision's reference.

All train the same model on the same images, each of which becomes a PIL image and is augmented alone in a DataLoader.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from hwcls.data.imageset import ImageSet

LR, MOMENTUM, DECAY = 0.05, 0.9, 5e-4

Follow = Callable[[Iterable[Any]], Iterable[Any]]  # sees each batch of a loop, and may end it


class Images(Dataset[Any]):
    """Decoded images, each made a PIL image and augmented alone, as torchvision's own MNIST and CIFAR sets do it."""

    def __init__(self, data: ImageSet, crop: int) -> None:
        self.pixels, self.rows, self.labels = data.train.images, data.train.rows, data.train.labels
        self.data, self.classes = data, data.classes
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(data.image_size, padding=crop),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        pixels = self.pixels[self.rows[index]]
        image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        return self.transform(image), int(self.labels[index])


@dataclass(frozen=True)
class Task:
    """What every loop trains.

    Attributes:
        images: Of an epoch.
        build: Makes the model, on the CPU.
        device: Where it is trained.
        batch: Images of a step.
        loaders: Processes of the DataLoader; the tutorial has two.
        follow: Sees each batch.
    """

    images: Images
    build: Callable[[], nn.Module]
    device: torch.device
    batch: int
    loaders: int = 2
    follow: Follow = iter

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def loader(self, workers: int) -> DataLoader[Any]:
        """A DataLoader; for a GPU with pinned memory."""
        return DataLoader(self.images, self.batch, shuffle=True, num_workers=workers, pin_memory=self.cuda)


Loop = Callable[[Task], Callable[[], int]]  # returns what trains an epoch and returns its images


def tutorial(task: Task) -> Callable[[], int]:
    """pytorch.org's "Training a classifier", with the DataLoader's two workers."""
    model = task.build().to(task.device)
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM, weight_decay=DECAY)
    criterion = nn.CrossEntropyLoss()

    def epoch() -> int:
        model.train()
        seen, total, right = 0, 0.0, 0
        for inputs, labels in task.follow(DataLoader(task.images, task.batch, shuffle=True, num_workers=2)):
            inputs, labels = inputs.to(task.device), labels.to(task.device)
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
            right += (outputs.argmax(1) == labels).sum().item()
            seen += len(labels)
        return seen

    return epoch


def timm_loop(task: Task) -> Callable[[], int]:
    """The loader, optimizer, schedule and meters of timm's train.py, with its options channels_last and, on a GPU,
    amp in bfloat16."""
    from timm.data import ToNumpy, create_loader
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import AverageMeter, accuracy

    model = task.build().to(task.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = create_optimizer_v2(model, "sgd", LR, DECAY, MOMENTUM)
    criterion = nn.CrossEntropyLoss()
    images, data = copy.copy(task.images), task.images.data
    loader = create_loader(
        images,
        (data.channels, data.image_size, data.image_size),
        task.batch,
        is_training=True,
        num_workers=task.loaders,
        device=task.device,
        mean=data.mean,
        std=data.std,
        use_prefetcher=task.cuda,  # its default, which is for GPUs
        pin_memory=task.cuda,
        persistent_workers=False,
    )
    transform = task.images.transform  # create_loader has set its own
    images.transform = transforms.Compose([*transform.transforms[:-2], ToNumpy()]) if task.cuda else transform
    schedule, _ = create_scheduler_v2(optimizer, "cosine", num_epochs=100, updates_per_epoch=len(loader))

    def epoch() -> int:
        model.train()
        losses, top1, seen = AverageMeter(), AverageMeter(), 0
        optimizer.zero_grad()
        for number, (inputs, labels) in enumerate(task.follow(loader)):
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast(task.device.type, torch.bfloat16, enabled=task.cuda):
                output = model(inputs)
                loss = criterion(output, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.update(loss.item(), len(labels))
            top1.update(accuracy(output.detach(), labels)[0].item(), len(labels))
            schedule.step_update(num_updates=number, metric=losses.avg)
            seen += len(labels)
        return seen

    return epoch


def torchvision_loop(task: Task) -> Callable[[], int]:
    """train_one_epoch of torchvision's references/classification, on a GPU with --amp: float16 and a GradScaler."""
    model = task.build().to(task.device)
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM, weight_decay=DECAY)
    criterion = nn.CrossEntropyLoss()
    scaler = torch.amp.GradScaler(task.device.type, enabled=task.cuda)
    torch.backends.cudnn.benchmark = True

    def epoch() -> int:
        model.train()
        seen, total, right = 0, 0.0, [0.0, 0.0]
        for image, target in task.follow(task.loader(task.loaders)):
            image, target = image.to(task.device), target.to(task.device)
            with torch.autocast(task.device.type, torch.float16, enabled=task.cuda):
                output = model(image)
                loss = criterion(output, target)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            _, guesses = output.topk(5, 1)  # (B, 5)
            hits = guesses == target[:, None]  # (B, 5)
            total += loss.item()
            right = [so_far + hits[:, :top].sum().item() for so_far, top in zip(right, (1, 5), strict=True)]
            seen += len(target)
        return seen

    return epoch


class _Followed:
    """A loader whose batches are seen; Lightning asks for an iterable."""

    def __init__(self, loader: Iterable[Any], follow: Follow) -> None:
        self.loader, self.follow = loader, follow

    def __iter__(self) -> Iterator[Any]:
        return iter(self.follow(self.loader))


def lightning_loop(task: Task) -> Callable[[], int]:
    """Lightning's Trainer with a metric of torchmetrics, without logger, checkpoints and progress bar."""
    import lightning

    module = _lightning_module(task.build(), len(task.images.classes))

    def epoch() -> int:
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="gpu" if task.cuda else "cpu",
            devices=1,
            precision="bf16-mixed" if task.cuda else "32-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, _Followed(task.loader(task.loaders), task.follow))
        return len(task.images)

    return epoch


def _lightning_module(model: nn.Module, classes: int) -> Any:
    import lightning
    from torchmetrics.classification import MulticlassAccuracy

    class Module(lightning.LightningModule):
        """The same as Lightning's users write it."""

        def __init__(self) -> None:
            super().__init__()
            self.model, self.accuracy = model, MulticlassAccuracy(classes, average="micro")

        def training_step(self, batch: Any, index: int) -> Any:
            inputs, labels = batch
            outputs = self.model(inputs)
            loss = nn.functional.cross_entropy(outputs, labels)
            self.accuracy(outputs, labels)
            self.log("train/loss", loss, on_step=False, on_epoch=True)
            self.log("train/accuracy", self.accuracy, on_step=False, on_epoch=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), LR, MOMENTUM, weight_decay=DECAY)

    return Module()
