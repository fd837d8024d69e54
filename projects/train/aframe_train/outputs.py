"""What a training publishes, by the names of its files."""

PUBLISHES = (
    "model.pt",
    "best.ckpt",
    "last.ckpt",
    "batch.hdf5",
    "val_batch.hdf5",
    "preprocessing.json",
    "metrics.csv",
    "config.yaml",
)
#: Folder of the pictures that a validation may leave, which do not change.
PICTURES = "validation"
