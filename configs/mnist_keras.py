"""The convolutional VAE of the Keras examples on grey MNIST, trained on all 70,000 images as reports of it are.

By argument: `:deep` (a third convolution), `:dense` (fully connected), `:z1` and `:z10` (latent dimensions; else 2),
`:mse` (summed squared error, to which the Gaussian of variance ½ adds the constant ½·784·ln π = 448.73 nats).
`--config.data.train_on=train` keeps the test split apart.
"""

from vae_jax.config import default_config

ARGUMENTS = ("deep", "dense", "z1", "z10", "mse")


def get_config(variant=""):
    config = default_config()
    config.data.update(source="tfds", name="mnist", image_size=(28, 28), train_on="all")
    if variant == "dense":
        config.model.encoder = dict(family="mlp", widths=(512, 256))
        config.model.decoder = dict(family="mlp", mirror=True)
    elif variant == "deep":
        config.model.encoder = dict(family="conv", channels=(32, 64, 128), kernel=3, dense=(16,))  # 28 → 14 → 7 → 4
        config.model.decoder = dict(
            family="conv",
            channels=(128, 128, 64, 32),  # 4 → 7 → 14 → 28 → 28
            kernel=(4, 3, 3, 3),
            stride=(1, 2, 2, 1),
            padding=(0, "same", "same", "same"),
        )
    else:
        config.model.encoder = dict(family="conv", channels=(32, 64), kernel=3, dense=(16,))  # 28 → 14 → 7
        config.model.decoder = dict(family="conv", channels=(64, 64, 32), kernel=3, stride=(2, 2, 1))  # and back
    config.model.update(latent={"z1": 1, "z10": 10}.get(variant, 2), likelihood="bernoulli")
    if variant == "mse":
        config.model.update(likelihood="gaussian", variance=0.5)
    config.optimizer.update(learning_rate=1e-3)
    # 544 steps: a logged loss is the mean over an epoch, less three of its 547 steps.
    config.train.update(batch_size=128, epochs=30, log_every=544)
    return config
