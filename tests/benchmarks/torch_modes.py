"""The twin in every mode PyTorch offers, trained, encoding and sampling as a PyTorch user would have it."""

import dataclasses

import numpy as np
import torch
from flax import nnx
from ml_collections import ConfigDict
from torch.utils.data import DataLoader, Dataset
from torch_twin import Twin

GPU_WORKERS = 8  # of the DataLoader; on the CPU none, where they would take the cores from the net
READ_EVERY = 8  # batches between two looks at the loss


@dataclasses.dataclass(frozen=True)
class Mode:
    """`compiled` is torch.compile's mode; bfloat16 is autocast's, with float32 parameters."""

    name: str
    channels_last: bool = False
    compiled: str | None = None
    precision: str = "float32"


EAGER = Mode("eager")
EVERYWHERE = (
    EAGER,
    Mode("channels_last", True),
    Mode("compile + channels_last", True, "default"),
    Mode("bf16 + channels_last", True, None, "bfloat16"),
    Mode("bf16 + compile + channels_last", True, "default", "bfloat16"),
)
ON_A_GPU = (
    Mode("compile, CUDA graphs + channels_last", True, "reduce-overhead"),
    Mode("bf16 + compile, CUDA graphs + channels_last", True, "reduce-overhead", "bfloat16"),
)


def modes() -> tuple[Mode, ...]:
    """The modes that there are on this machine."""
    return EVERYWHERE + ON_A_GPU if torch.cuda.is_available() else EVERYWHERE


class TorchSide:
    """One mode of the twin: `params` are what it starts from, `images` [N, H, W, C] uint8 what it works on."""

    def __init__(self, mode: Mode, config: ConfigDict, images: np.ndarray, params: nnx.State):
        self.mode, self.batch_size = mode, config.train.batch_size
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        layout = torch.channels_last if mode.channels_last else torch.contiguous_format
        self.twin = Twin(config.model.to_dict(), images.shape[1:], memory_format=layout)
        self.twin.copy_from(params)
        self.twin.to(self.device)
        self.optimizer = torch.optim.Adam(self.twin.parameters(), lr=config.optimizer.learning_rate, fused=True)
        self.host_images = torch.from_numpy(images)
        self.images = self.host_images.to(self.device)
        self.batch = self.twin.pixels(self.images[: self.batch_size])
        self.loss, self.mean, self.decode = (
            torch.compile(function, mode=mode.compiled) if mode.compiled else function
            for function in (self._loss, self._mean, self._decode)
        )

    def train(self, batches: int) -> None:
        """Steps on batches gathered from the images on the device."""
        self._precision(tf32=True)
        self.twin.train()
        for _ in range(batches):
            places = torch.randint(len(self.images), (self.batch_size,), device=self.device)
            loss = self._step(self.images.index_select(0, places))
        loss.item()

    def train_from_loader(self, batches: int) -> None:
        """Steps on what a DataLoader reads from the images on the host, epoch after epoch."""
        self._precision(tf32=True)
        self.twin.train()
        for number, images in zip(range(batches), self._endless_loader(), strict=False):
            loss = self._step(images.to(self.device, non_blocking=True))
            if number % READ_EVERY == READ_EVERY - 1:
                loss.item()
        loss.item()

    @torch.inference_mode()
    def encode(self, batches: int) -> None:
        """The posterior of one batch, `batches` times."""
        self._precision(tf32=False)
        self.twin.eval()
        for _ in range(batches):
            mean, _ = self.mean(self.batch)
        mean.sum().item()

    @torch.inference_mode()
    def sample(self, batches: int) -> None:
        """Images of latents drawn from the prior."""
        self._precision(tf32=False)
        self.twin.eval()
        for _ in range(batches):
            images = self.decode(torch.randn(self.batch_size, self.twin.latent, device=self.device))
        images.sum().item()

    def checked_step(self, images: np.ndarray, noise: np.ndarray) -> float:
        """One training step on `images` with the given noise, in full float32: its loss."""
        self._precision(tf32=False)
        self.twin.train()
        return self._step(torch.from_numpy(images).to(self.device), torch.from_numpy(noise).to(self.device)).item()

    def _step(self, images, noise=None):
        if noise is None:
            noise = torch.randn(len(images), self.twin.latent, device=self.device)
        loss = self.loss(images, noise)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _loss(self, images, noise):
        with self._autocast():
            return self.twin.loss(images, noise)

    def _mean(self, x):
        with self._autocast():
            return self.twin.encode(x)

    def _decode(self, z):
        with self._autocast():
            return self.twin.decode(z)

    def _autocast(self):
        return torch.autocast(self.device, torch.bfloat16, enabled=self.mode.precision == "bfloat16")

    def _precision(self, *, tf32):
        """As our side: on a GPU, float32 training may use TF32 and everything held out may not."""
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32

    def _endless_loader(self):
        workers = GPU_WORKERS if self.device == "cuda" else 0
        loader = DataLoader(
            _Images(self.host_images),
            self.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device == "cuda",
            collate_fn=lambda batch: batch,
        )
        while True:
            yield from loader


class _Images(Dataset):
    """Read by the batch, which the DataLoader asks for where there is a `__getitems__`."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitems__(self, places):
        return self.images[places]
