"""Every field of a config with its default, and which of them make a run the same run."""

from ml_collections import ConfigDict, config_dict

from vae_jax.study_options import STUDY

# What makes a run the same run; everything else may change when it is resumed.
IDENTITY = (
    "seed",
    "data.source",
    "data.name",
    "data.mix",
    "data.crop",
    "data.image_size",
    "data.channels",
    "data.balance",
    "data.flip",
    "data.binarization",
    "data.dequantize",
    "data.corrupt",
    "data.test_fraction",
    "data.validation_fraction",
    "data.train_on",
    "data.seed",
    "model",
    "objective",
    "perceptual.sha256",
    "perceptual.layers",
    "optimizer",
    "train.batch_size",
    "train.replicas",
    "dtype",
    "matmul_precision",
)


def default_config() -> ConfigDict:
    """Every field with its default; an experiment's file changes what makes it that experiment."""
    return ConfigDict(
        {
            "seed": 0,  # initial weights, order of the examples, training noise
            "dtype": "float32",  # what the nets compute in; parameters and losses are float32
            "matmul_precision": "default",  # default | high | highest (what default means depends on the device)
            "convolution": "auto",  # xla (jax's own) | cpu (forms that are fast there) | auto (by the devices)
            "remat": False,  # keep no activations inside convolutional layers: less memory, a third more arithmetic
            "data": {
                "source": "digits",  # a module of vae_jax/data/sources
                "dir": "",  # where the data lie, for the sources that read files
                "name": "mnist",  # the data set's name, for the source "tfds"
                "mix": (),  # for the source "mix": ("celeba=0.7", "folder:~/faces=0.3"), SOURCE[:DIR]=PROPORTION
                "crop": "whole",  # whole | center (of image_size's aspect) | HxW[+TOP+LEFT] | celeba_148 | celeba_178
                "image_size": (8, 8),  # (height, width) that the cropped pictures are resized to
                "channels": 0,  # 1 (grey) | 3 (colour) | 0: as the source has them
                "max_broken": 0.01,  # share of the pictures that may be broken before it is an error
                "cache_dir": "",  # of the decoded pictures; default: the user's cache folder
                "balance": "",  # an attribute or "label": its groups are trained on equally often
                "flip": False,  # left and right, by chance, in training
                "binarization": "none",  # none | threshold | dynamic (a Bernoulli draw an epoch)
                "dequantize": False,  # uniform noise of one grey level on uint8 pictures
                "corrupt": {  # what the net sees; it is scored on the whole picture
                    "kind": "none",  # none | noise | box | patches
                    "amount": 0.5,  # noise: its stddev; box: its side; patches: the share of them that is masked
                    "patch": 8,  # pixels on a side
                    "weight": 1.0,  # of a masked pixel in the reconstruction, where a seen one has 1
                },
                "test_fraction": 0.2,  # of the whole, where the source has no test split of its own
                "validation_fraction": 0.1,  # of the training split: it picks the best checkpoint
                "train_on": "train",  # train (split) | all (of the splits: nothing is held out then)
                "seed": 0,  # of the splits, and of the one Bernoulli draw of held-out images
                "delivery": "auto",  # device | host | auto
                "workers": 0,  # processes that read for host delivery; 0: threads
            },
            "model": {
                "encoder": {"family": "mlp"},  # a module of vae_jax/nn, with the options it names
                "decoder": {"family": "mlp", "mirror": True},
                "latent": 8,
                "cond": (),  # attributes that the nets are told, or ("label",), or ("attributes",) for all there are
                "target": (),  # named likewise: with it the model is a classifier of these, an encoder alone
                "posterior": "normal",  # normal (by log-variance) | softplus | point (an autoencoder)
                "likelihood": "gaussian",  # gaussian | laplace | bernoulli
                "variance": 1.0,  # of a pixel; where it is learned, what it starts from (per_pixel: not used)
                "variance_kind": "fixed",  # fixed | single (learned) | per_pixel (learned)
                "output": "sigmoid",  # of the gaussian's or laplace's mean: sigmoid | identity
            },
            "objective": {
                "reconstruction": 1.0,  # weight of −log p(x|z)
                "perceptual": 0.0,  # nats for each unit of the perceptual distance, in the objective beside the others
                "kl": 1.0,  # β
                "kl_warmup": 0,  # steps over which β rises from 0
                "free_bits": 0.0,  # nats a latent dimension may cost for nothing
                "capacity": 0.0,  # C in β·|KL − C|, nats
                "capacity_steps": 0,  # steps over which C rises from 0
            },
            "perceptual": {  # ½ the mean squared difference of a frozen VGG-19's features, summed over layers
                "weights": "",  # the net's file, .pth, .safetensors or .npz; with it there is a distance, and no ELBO
                "sha256": "",  # of that file; filled in when it is read
                "layers": ("relu1_1", "relu2_1", "relu3_1"),
            },
            "optimizer": {
                "name": "adam",  # adam | adamw | muon (which wants a rate of about 0.04) | sgd
                "learning_rate": 1e-4,
                "schedule": "constant",  # constant | cosine (to 0 at decay_steps)
                "warmup_steps": 0,  # parameter updates
                "decay_steps": config_dict.placeholder(int),  # parameter updates; default: all of the run's
                "weight_decay": 0.0,  # adamw and muon only
                "clip_norm": 0.0,  # of the gradient; 0: none
                "ema": 0.0,  # decay of the averaged parameters; 0: none
                "accumulate": 1,  # batches a parameter update
            },
            "pretrained": {  # what --mode=import does
                # (source module, our module, layout): see vae_jax/pretrained/mapping.py; (): the names are ours
                "mapping": (),
                "architecture": "config",  # widths, depth, kernels, norms, latent: config (as it says) | file (its own)
                "files": (),  # what was imported, filled in: each file's name and hash
            },
            "train": {
                "batch_size": 64,
                "epochs": 20,
                "steps": config_dict.placeholder(int),  # instead of epochs
                "steps_per_call": 8,  # K, steps in one compiled call
                "log_every": config_dict.placeholder(int),  # steps; default: an epoch, at most 100 or a tenth of all
                "eval_every": config_dict.placeholder(int),  # steps; default: about an epoch, at least 100
                "checkpoint_every": config_dict.placeholder(int),  # steps; default: as eval_every
                # Many runs in one program: the values that replica 0, 1, ... has in the place of the config's one.
                "replicas": {
                    "seed": (),
                    "kl": (),  # objective.kl
                    "capacity": (),  # objective.capacity
                    "perceptual": (),  # objective.perceptual
                },
                "replica_axis": "auto",  # map | vmap | auto (map on the CPU)
            },
            "eval": {
                "batch_size": 256,
                "importance_samples": 0,  # K of the importance-weighted −log p(x), or bound of grey images; 0: none
                "importance_examples": config_dict.placeholder(int),  # of the test split; default: all
                "features": "",  # a SqueezeNet v1.0's weights: the file by which the feature distance is measured
                "ema": True,  # evaluate the averaged parameters where there are any
            },
            "sample": {
                "count": 64,
                "seed": 0,
                "cond": (),  # one number for each of model.cond; (): drawn as often as the training split has them
            },
            "study": STUDY,  # what --mode=study does: vae_jax/study_options.py
            "profile": "",  # START:STOP, training steps of which a trace is written into the run folder
            "mesh": {
                "devices": 0,  # 0: all
                "fsdp": 1,  # devices that share one copy of the state, for nets that don't fit on each
            },
        }
    )
